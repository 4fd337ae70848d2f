"""Texts and pictures in one space: encoders whose vectors are the closer, the more they fit.

Shapes: T texts, K crops, D the length of a vector; h w a crop's pixels, H W the encoder's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amg_cli.core.host import in_own_precision

CROPS_AT_A_TIME = 32
TEXTS_AT_A_TIME = 256


class TextImageEncoder(Protocol):
    """What names masks: all that one of your own must have. One with `to(device)` is moved.

    scale: what cosines are multiplied by before a softmax: the inverse of the temperature
    """

    @property
    def scale(self) -> float:
        """As above."""

    def texts(self, names: Sequence[str]) -> NDArray[np.float32]:
        """T texts, one or more, to unit vectors (T, D)."""

    def crops(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """K crops, one or more, of (h, w, 3) RGB, each of its own size, to unit vectors (K, D).

        pixels: may make a crop each time it is asked for, so that few are held at a time
        """


class OpenClip:
    """A model of the library `open_clip`, with its own preprocessing: CLIP, SigLIP and others.

    A crop is scaled into the middle of the model's square input, whole; where the model was trained
    on pictures that are stretched to it, stretched. (CLIP's own preprocessing cuts off the ends.)
    A crop's vector depends on those beside it by rounding alone.
    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision".
    """

    def __init__(self, model: nn.Module, tokenizer: Callable[[list[str]], Tensor]) -> None:
        self._model: Any = model
        self._model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        visual: Any = model.visual
        about = visual.preprocess_cfg
        size = about["size"]
        self._input_hw = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self._mean, self._std = (np.array(about[key], np.float32) for key in ("mean", "std"))
        self._is_stretched = about["resize_mode"] == "squash"

    @property
    def scale(self) -> float:
        """As `TextImageEncoder`."""
        return float(self._model.logit_scale.exp())

    def to(self, device: torch.device) -> OpenClip:
        """Itself, moved."""
        self._model.to(device)
        return self

    @in_own_precision
    @torch.inference_mode()
    def texts(self, names: Sequence[str]) -> NDArray[np.float32]:
        """As `TextImageEncoder`."""
        device = self._model.logit_scale.device
        parts = [
            self._tokenizer(list(names[first : first + TEXTS_AT_A_TIME]))
            for first in range(0, len(names), TEXTS_AT_A_TIME)
        ]
        return _joined([self._model.encode_text(part.to(device), normalize=True) for part in parts])

    @in_own_precision
    @torch.inference_mode()
    def crops(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """As `TextImageEncoder`."""
        device = self._model.logit_scale.device
        vectors = []
        for first in range(0, len(pixels), CROPS_AT_A_TIME):
            last = min(first + CROPS_AT_A_TIME, len(pixels))
            part = torch.from_numpy(np.stack([self._input(pixels[i]) for i in range(first, last)]))
            vectors.append(self._model.encode_image(part.to(device), normalize=True))
        return _joined(vectors)

    def _input(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A crop (h, w, 3) normalised in the model's input, (3, H, W); 0, the mean, beside it."""
        height, width = self._input_hw
        scale = min(height / crop.shape[0], width / crop.shape[1])
        size_hw = self._input_hw
        if not self._is_stretched:
            size_hw = tuple(
                max(1, min(round(scale * n), most))
                for n, most in zip(crop.shape[:2], self._input_hw, strict=True)
            )
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(crop, size_hw[::-1], interpolation=how)
        top, left = (height - size_hw[0]) // 2, (width - size_hw[1]) // 2
        whole = np.zeros((height, width, 3), np.float32)
        normalised = (scaled.astype(np.float32) / 255 - self._mean) / self._std
        whole[top : top + size_hw[0], left : left + size_hw[1]] = normalised
        return whole.transpose(2, 0, 1)


def _joined(vectors: list[Tensor]) -> NDArray[np.float32]:
    return torch.cat(vectors).float().cpu().numpy()
