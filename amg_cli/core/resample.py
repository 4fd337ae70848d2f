"""Pillow's antialiased bilinear resize, to the bit: what the reference feeds its models.

No resize of torch or OpenCV gives the same bytes, and one level more or less moves the masks'
stability scores. Pillow rounds its weights to 22 bits and its sums to a byte, first along the
width, then along the height. (Since version 13 it begins with the height where that shrinks far
more than the width; here the order is always the old one.)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WEIGHT_BITS = 22
WEIGHT_ONE = 1 << WEIGHT_BITS
ROWS_PER_STRIP = 64  # of a CPU: few enough to stay in its cache


def resize_bilinear(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear with antialias, equal to Pillow's `Image.resize`. (H, W, C) -> (*size_hw, C)."""
    return resize_on_device(torch.from_numpy(np.array(image, order="C")), size_hw).numpy()


def resize_on_device(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The same where the image is. (H, W, C) uint8 -> (*size_hw, C)."""
    for axis, length in ((1, size_hw[1]), (0, size_hw[0])):
        if image.shape[axis] != length:
            image = _resize(image, axis, length)
    return image


def _resize(image: Tensor, axis: int, length: int) -> Tensor:
    """(H, W, C) uint8, one axis of it resized."""
    first, weights = _weights(image.shape[axis], length)
    height, width, channels = image.shape
    shape = (height, length) if axis else (length, width)
    resized = image.new_empty((*shape, channels))
    step = ROWS_PER_STRIP if image.device.type == "cpu" else shape[0]
    for start in range(0, shape[0], step):
        rows = slice(start, start + step)
        if axis:
            resized[rows] = _weighed(image[rows], axis, first, weights)
        else:
            resized[rows] = _weighed(image, axis, first[rows], weights[rows])
    return resized


def _weighed(
    image: Tensor, axis: int, first: NDArray[np.int64], weights: NDArray[np.int32]
) -> Tensor:
    """Weighed sums of an axis' lines, one under each result's triangle after another.

    first (R,), weights (R, K): of R results. The sums have at most 31 bits.
    """
    sums = torch.full((), WEIGHT_ONE // 2, dtype=torch.int32, device=image.device)
    for offset, of_offset in enumerate(weights.T):
        if of_offset.any():
            lines = np.minimum(first + offset, image.shape[axis] - 1)
            index = torch.from_numpy(lines).to(image.device)
            weight = torch.from_numpy(of_offset).to(image.device)
            lined_up = weight.view(-1, *(1,) * (2 - axis))
            weighed = image.index_select(axis, index).to(torch.int32).mul_(lined_up)
            sums = weighed.add_(sums)
    return sums.bitwise_right_shift_(WEIGHT_BITS)


def _weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The first line under each result's triangle, (new,), and the weights from there, (new, K)."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum(centre - support + 0.5, 0).astype(np.int64)
    end = np.minimum(centre + support + 0.5, old).astype(np.int64)
    lines = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    triangle = np.maximum(1 - np.abs((lines - centre[:, None] + 0.5) / support), 0)
    triangle[lines >= end[:, None]] = 0
    weights = np.floor(triangle / triangle.sum(axis=1, keepdims=True) * WEIGHT_ONE + 0.5)
    return first, weights.astype(np.int32)
