"""The one mapping between an image's pixels, the model's input and its low-resolution masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.resample import resize_on_device


@dataclass(frozen=True)
class Frame:
    """How one image (or crop) lies in the model's input: scaled to fit, padded right and below.

    image_hw:   the image's size in pixels
    resized_hw: its size after scaling; each side at least 1
    input_hw:   the padded size the model gets
    stretched:  it fills the input, as of `stretch`
    """

    image_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    input_hw: tuple[int, int]
    stretched: bool = False

    @classmethod
    def fit(
        cls, image_hw: tuple[int, int], input_size_hw: tuple[int, int], pad_multiple: int = 0
    ) -> Frame:
        """Scale `image_hw` to the largest size inside `input_size_hw`, then pad to it.

        With `pad_multiple`, pad only up to a multiple of it. Source: the reference, step 3; a side
        that would round to 0 (aspect ratios over 2048) becomes 1 instead of an error.
        """
        scale = min(bound / side for bound, side in zip(input_size_hw, image_hw, strict=True))
        resized = tuple(max(1, int(side * scale + 0.5)) for side in image_hw)
        height, width = resized
        if pad_multiple:
            padded = tuple(math.ceil(side / pad_multiple) * pad_multiple for side in resized)
            return cls(image_hw, (height, width), (padded[0], padded[1]))
        return cls(image_hw, (height, width), input_size_hw)

    @classmethod
    def stretch(cls, image_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> Frame:
        """Fill the input, whatever the image's shape.

        Scaled pixels are then not rounded to whole levels, and masks go from low resolution to the
        image's size in one step. Source: the image predictor of SAM 2.
        """
        return cls(image_hw, input_size_hw, input_size_hw, stretched=True)

    def resize(self, image_rgb: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
        """Scale to `resized_hw` as the reference does. (H, W, 3) uint8 -> (3, h, w) uint8.

        Stretched, it is float32, in the same 0-255 units.
        device: where it is done, and what is found lies; None for the CPU
        """
        image = torch.from_numpy(np.array(image_rgb, order="C")).to(device or "cpu")
        if self.stretched:
            return _resized_unrounded(image, self.resized_hw)
        return resize_on_device(image, self.resized_hw).permute(2, 0, 1)

    def model_input(
        self,
        image_rgb: NDArray[np.uint8],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device | None = None,
    ) -> Tensor:
        """Resized, normalised, zero-padded. (H, W, 3) uint8 -> (1, 3, *input_hw) float32.

        device: as of `resize`
        """
        return self.pad(normalised(self.resize(image_rgb, device), mean, std))[None]

    def pad(self, pixels: Tensor) -> Tensor:
        """Zeros right and below. (…, h, w) of `resized_hw` -> (…, *input_hw)."""
        pad_below = self.input_hw[0] - self.resized_hw[0]
        pad_right = self.input_hw[1] - self.resized_hw[1]
        return F.pad(pixels, (0, pad_right, 0, pad_below))

    def to_input_xy(self, points_xy: NDArray[np.float64]) -> Tensor:
        """Image pixels to pixels of the model's input. (…, 2) float64 -> (…, 2) float32."""
        scale_y, scale_x = (
            new / old for new, old in zip(self.resized_hw, self.image_hw, strict=True)
        )
        # The product is taken in float64, as the reference does; devices such as MPS have only 32.
        return torch.from_numpy(points_xy * np.array([scale_x, scale_y])).float()

    def to_image_logits(self, low_res: Tensor) -> Tensor:
        """Low-resolution logits of the padded input to the image's size. (N, h, w) -> (N, H, W).

        Two bilinear steps, without antialias, cutting the padding between: the reference, step 4.
        One alone where the image is stretched.
        """
        if not len(low_res):  # which torch does not interpolate
            return low_res.new_empty(0, *self.image_hw)
        if self.stretched:
            return F.interpolate(low_res[None], self.image_hw, mode="bilinear")[0]
        logits = F.interpolate(low_res[None], self.input_hw, mode="bilinear")
        logits = logits[..., : self.resized_hw[0], : self.resized_hw[1]]
        return F.interpolate(logits, self.image_hw, mode="bilinear")[0]


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Of channels in 0-255 units, mean taken away, divided by std. (…, C, h, w) -> float32."""
    centre, spread = (
        torch.tensor(of_channel, dtype=torch.float32, device=pixels.device)[:, None, None]
        for of_channel in (mean, std)
    )
    return (pixels.float() - centre) / spread


def _resized_unrounded(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear with antialias. (H, W, 3) uint8 -> (3, *size_hw) float32, where the image is."""
    # Not every device has the operator that the CPU has.
    pixels = (image.cpu() if image.device.type == "mps" else image).permute(2, 0, 1).float()
    scaled = F.interpolate(pixels[None], size_hw, mode="bilinear", antialias=True)[0]
    return scaled.to(image.device)
