"""`ImageResizer`: images, masks and coordinates of one size to those of a model's input, and back.

Over `Frame`, the one mapping there is; sizes are (height, width).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.errors import briefly
from amg_cli.core.frame import Frame
from amg_cli.core.resample import resize_bilinear

Size = tuple[int, int]


class ImageResizer:
    """Scales images of one size to the largest that fits another, and pads them to it.

    src_size: of the images; dst_size: after scaling and padding; pad_only: do not scale
    Raises ValueError for sizes that are not of two whole numbers from 1, and where images to be
    padded only are larger than dst_size.
    """

    def __init__(self, src_size: Size, dst_size: Size, pad_only: bool = False) -> None:
        self.src_size = _size("src_size", src_size)
        self.dst_size = _size("dst_size", dst_size)
        self.pad_only = pad_only
        if pad_only and any(a > b for a, b in zip(self.src_size, self.dst_size, strict=True)):
            cause = f"{self.src_size} does not fit {self.dst_size}"
            raise ValueError(f"src_size: {cause}, and pad_only does not scale")
        if pad_only:
            self.frame = Frame(self.src_size, self.src_size, self.dst_size)
        else:
            self.frame = Frame.fit(self.src_size, self.dst_size)

    @property
    def scale(self) -> float:
        """By how much sides are multiplied, before they are rounded to pixels."""
        if self.pad_only:
            return 1.0
        return min(new / old for new, old in zip(self.dst_size, self.src_size, strict=True))

    @property
    def rescaled_size(self) -> Size:
        """The size after scaling."""
        return self.frame.resized_hw

    def scale_image(self, image: NDArray[Any], channels_last: bool = True) -> NDArray[Any]:
        """Images of `src_size` to `rescaled_size`: (H, W, C) or (N, H, W, C), or channels first."""
        self._check(image, self.src_size, channels_last)
        return self.scale_to_size(image, self.rescaled_size, channels_last)

    def unscale_image(self, image: NDArray[Any], channels_last: bool = True) -> NDArray[Any]:
        """Images of `rescaled_size` back to `src_size`."""
        self._check(image, self.rescaled_size, channels_last)
        return self.scale_to_size(image, self.src_size, channels_last)

    def pad_image(self, image: NDArray[Any], channels_last: bool = True) -> NDArray[Any]:
        """Zeros right and below images of `rescaled_size`, up to `dst_size`."""
        self._check(image, self.rescaled_size, channels_last)
        array = np.asarray(image)
        rows = array.ndim - (3 if channels_last else 2)
        padding = [(0, 0)] * array.ndim
        for axis, (new, old) in enumerate(zip(self.dst_size, self.rescaled_size, strict=True)):
            padding[rows + axis] = (0, new - old)
        return np.pad(array, padding)

    def postprocess_mask(
        self, mask: NDArray[np.floating[Any]], threshold: float | None = None
    ) -> NDArray[Any]:
        """Logits of `dst_size` back to `src_size`, channels first: padding cut off, then scaled.

        (K, H, W) or (N, K, H, W) float -> the same, or bool, over the threshold, if one is given.
        Bilinear without antialias, as published.
        """
        self._check(mask, self.dst_size, channels_last=False)
        if np.asarray(mask).dtype.kind != "f":
            raise TypeError(f"mask: float logits are wanted, not {np.asarray(mask).dtype}")
        height, width = self.rescaled_size
        cut = torch.from_numpy(np.ascontiguousarray(np.asarray(mask)[..., :height, :width]))
        batch = cut.reshape(1, -1, height, width)
        scaled = F.interpolate(batch, self.src_size, mode="bilinear", align_corners=False)
        logits: NDArray[Any] = scaled.view(*cut.shape[:-2], *self.src_size).numpy()
        return logits if threshold is None else logits > threshold

    def scale_points(self, points: NDArray[Any]) -> NDArray[np.float32]:
        """Points (…, 2), x and y, of `src_size` to those of `rescaled_size`."""
        array = np.asarray(points, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != 2:
            raise ValueError(f"points: (…, 2) is wanted, not {array.shape}")
        scaled: NDArray[np.float32] = self.frame.to_input_xy(array).numpy()
        return scaled

    def scale_boxes(self, boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Boxes (…, 4), left, top, right, bottom, as `scale_points` does their corners."""
        array = np.asarray(boxes, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != 4:
            raise ValueError(f"boxes: (…, 4) is wanted, not {array.shape}")
        return self.scale_points(array.reshape(*array.shape[:-1], 2, 2)).reshape(array.shape)

    @staticmethod
    def scale_to_size(image: NDArray[Any], size: Size, channels_last: bool) -> NDArray[Any]:
        """Images to any size, whatever that does to their sides' ratio.

        (H, W, C) or (N, H, W, C), or channels first; of 8 bits as Pillow does it, of floats
        bilinear with antialias, of bool where half of what a pixel is made of is true.
        Raises ValueError for another shape, TypeError for another type.
        """
        size = _size("size", size)
        array = np.asarray(image)
        if array.ndim not in (3, 4):
            raise ValueError(f"image: 3 or 4 dimensions are wanted, not {array.shape}")
        first = array if not channels_last else np.moveaxis(array, -1, -3)
        scaled: NDArray[Any]
        if array.dtype == np.uint8:
            scaled = _scaled_bytes(first, size)
        elif array.dtype == np.bool_:
            scaled = _scaled(torch.from_numpy(first.astype(np.float32)), size).numpy() > 0.5
        elif array.dtype in (np.float32, np.float64):
            scaled = _scaled(torch.from_numpy(np.ascontiguousarray(first)), size).numpy()
        else:
            raise TypeError(f"image: uint8, float or bool is wanted, not {array.dtype}")
        return np.ascontiguousarray(np.moveaxis(scaled, -3, -1)) if channels_last else scaled

    def _check(self, image: NDArray[Any], size: Size, channels_last: bool) -> None:
        """Raises ValueError where an image has not that size."""
        shape = np.shape(image)
        found = shape[-3:-1] if channels_last else shape[-2:]
        if len(shape) not in (3, 4) or found != size:
            order = f"(…, {size[0]}, {size[1]}, C)" if channels_last else f"(…, C, *{size})"
            raise ValueError(f"image: {order} is wanted, not {shape}")


def _scaled_bytes(images: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(…, C, H, W) uint8, each image by itself."""
    batch = images.reshape(-1, *images.shape[-3:])
    scaled = [resize_bilinear(image.transpose(1, 2, 0), size).transpose(2, 0, 1) for image in batch]
    return np.stack(scaled).reshape(*images.shape[:-2], *size)


def _scaled(images: Tensor, size: Size) -> Tensor:
    """(…, C, H, W) float."""
    batch = images.reshape(1, -1, *images.shape[-2:])
    scaled = F.interpolate(batch, size, mode="bilinear", align_corners=False, antialias=True)
    return scaled.view(*images.shape[:-2], *size)


def _size(name: str, size: Any) -> Size:
    """A size, checked."""
    try:
        height, width = size
        whole = (int(height), int(width))
    except (TypeError, ValueError):
        whole = (0, 0)
    if min(whole) < 1 or whole != tuple(size):
        raise ValueError(f"{name}: (height, width) from 1 is wanted, not {briefly(size)}")
    return whole
