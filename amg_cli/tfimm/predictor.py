"""`SAMPredictor`, over `predict`: it holds one encoded image, and nothing else.

Shape letters: N prompts, M1 points, M2 boxes and M3 masks each, K answers; H0 W0 the image, H W the
model's input, H' W' a mask at low resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli.core.image import as_pixels
from amg_cli.generation.predict import encode_image, encode_input
from amg_cli.generation.predictor import OneImage
from amg_cli.generation.prompts import Prompts
from amg_cli.tfimm.resizer import ImageResizer

UNBATCHED = {"points": 2, "labels": 1, "boxes": 2, "masks": 3}  # their dimensions


class SAMPredictor(OneImage):
    """Prompts by hand on one image.

    model: a loaded model, or one of `create_model`
    preprocessing: what makes the model's input of a scaled image, (h, w, C) in [0, 255], before it
        is padded; by default the model's own mean and std

    A point is given the padding point that published code gives it where there is no box.
    """

    def __init__(self, model: Any, preprocessing: Callable[..., Any] | None = None) -> None:
        super().__init__(getattr(model, "sam", model))
        self.preprocessing = preprocessing

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Encode an image, (H0, W0, C) with values in [0, 255]. Errors as of `encode_image`."""
        self.clear_image()
        if self.preprocessing is None:
            self._encoded = encode_image(self.model, image)
            return
        config = self.model.config
        pixels = as_pixels(image, len(config.mean))
        frame = config.frame((pixels.shape[0], pixels.shape[1]))
        scaled = frame.resize(pixels).permute(1, 2, 0).numpy()
        ready = torch.from_numpy(np.asarray(self.preprocessing(scaled), dtype=np.float32))
        model_input = frame.pad(ready.permute(2, 0, 1))[None]
        self._encoded = encode_input(self.model, model_input, frame)

    def clear_image(self) -> None:
        """Forget the image."""
        self._encoded = None

    def __call__(
        self,
        points: NDArray[Any] | None = None,
        labels: NDArray[Any] | None = None,
        boxes: NDArray[Any] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """The masks of one prompt, or of N, in pixels of the image.

        points: (M1, 2) or (N, M1, 2), x and y; labels: (M1,) or (N, M1), 1 foreground, 0 background
        boxes: (M2, 4) or (N, M2, 4), left, top, right, bottom
        masks: (M3, H', W') or (N, M3, H', W') logits
        -> masks (K, H0, W0) bool, or logits; scores (K,); logits at low resolution (K, H', W');
           with N before where prompts are batched

        Raises RuntimeError where no image is set; TypeError or ValueError as of `Prompts`, and
        where some parts are batched and others are not.
        """
        if (points is None) != (labels is None):
            raise ValueError("points and labels: one is given without the other")
        given = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
        prompts, batched = _prompts(given)
        found = self._predict(prompts, multimask_output, return_logits)
        if batched:
            return found.masks, found.scores, found.low_res
        return found.masks[0], found.scores[0], found.low_res[0]

    def preprocess_masks(self, mask: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Logits of the image's size as masks to prompt with.

        (M, H0, W0) or (N, M, H0, W0) float -> (M, H', W') or (N, M, H', W'). In the padding they
        have the mask's lowest logit, or 0 if that is above: nothing of it is there.
        """
        frame = self._image().frame
        resizer = ImageResizer(frame.image_hw, frame.resized_hw)
        if np.asarray(mask).dtype.kind != "f":
            raise TypeError(f"mask: float logits are wanted, not {np.asarray(mask).dtype}")
        scaled = resizer.scale_image(np.asarray(mask, dtype=np.float32), channels_last=False)
        lowest = np.minimum(scaled.min(axis=(-2, -1), keepdims=True), 0)
        height, width = frame.resized_hw
        padded = np.broadcast_to(lowest, (*scaled.shape[:-2], *frame.input_hw)).copy()
        padded[..., :height, :width] = scaled
        return ImageResizer.scale_to_size(padded, self.mask_size, channels_last=False)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the model's input; where that is not fixed, of the image that is set."""
        if self._encoded is None:
            height, width = self.model.config.input_size
            return height, width
        return self._encoded.frame.input_hw

    @property
    def mask_size(self) -> tuple[int, int]:
        """(H', W'): four a cell of the embedding."""
        height, width = self.input_size
        stride = self.model.config.stride
        return 4 * height // stride, 4 * width // stride


def _prompts(given: dict[str, NDArray[Any] | None]) -> tuple[Prompts, bool]:
    """Prompts of the arguments, and whether these are batched. Errors as of `__call__`."""
    batched = {}
    for name, value in given.items():
        if value is not None:
            unbatched = UNBATCHED[name]
            if np.ndim(value) not in (unbatched, unbatched + 1):
                wanted = f"{unbatched} dimensions are wanted, or with N before"
                raise ValueError(f"{name}: {wanted}, not {np.shape(value)}")
            batched[name] = np.ndim(value) > unbatched
    if len(set(batched.values())) > 1:
        raise ValueError(f"{', '.join(batched)}: some are batched and others are not")
    several = any(batched.values())
    as_batch = (x if x is None or several else np.asarray(x)[None] for x in given.values())
    return Prompts(*as_batch), several
