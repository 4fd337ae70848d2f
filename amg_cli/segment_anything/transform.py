"""From an image's pixels to those of the model's input, as segment-anything does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.frame import Frame
from amg_cli.core.resample import resize_bilinear

Size = tuple[int, int]


class ResizeLongestSide:
    """Scale images so that their longest side is `target_length` pixels, and coordinates with them.

    Sizes are (height, width). Source: segment-anything 1.0.
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, C) uint8 -> (h, w, C) uint8, as Pillow does it."""
        height, width = image.shape[:2]
        return resize_bilinear(image, self.get_preprocess_shape(height, width, self.target_length))

    def apply_coords(self, coords: NDArray[Any], original_size: Size) -> NDArray[np.float64]:
        """Points (…, 2), x and y, of an image of that size."""
        scale_x, scale_y = self._scale(original_size)
        return np.asarray(coords, dtype=np.float64) * np.array([scale_x, scale_y])

    def apply_boxes(self, boxes: NDArray[Any], original_size: Size) -> NDArray[np.float64]:
        """Boxes (…, 4), XYXY."""
        corners = np.asarray(boxes).reshape(-1, 2, 2)
        return self.apply_coords(corners, original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, C, h, w); nearly `apply_image`, whose pixels are whole."""
        height, width = image.shape[2:]
        size = self.get_preprocess_shape(height, width, self.target_length)
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: Size) -> Tensor:
        """As `apply_coords`."""
        scale = torch.tensor(self._scale(original_size), dtype=torch.float32, device=coords.device)
        return coords.float() * scale

    def apply_boxes_torch(self, boxes: Tensor, original_size: Size) -> Tensor:
        """As `apply_boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> Size:
        """The size to scale to."""
        return Frame.fit((oldh, oldw), (long_side_length, long_side_length)).resized_hw

    def _scale(self, original_size: Size) -> tuple[float, float]:
        """Of x and of y."""
        height, width = original_size
        new_height, new_width = self.get_preprocess_shape(height, width, self.target_length)
        return new_width / width, new_height / height


class ResizeToSquare(ResizeLongestSide):
    """Stretch images to a square of `target_length` pixels, as SAM 2 takes them."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> Size:
        """The size to scale to, whatever the old one."""
        return long_side_length, long_side_length
