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

WEIGHT_ONE = 1 << 22
ROWS_PER_BLOCK = 32
ROWS_PER_STRIP = 128  # small enough to stay in the cache


def resize_bilinear(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear with antialias, equal to Pillow's `Image.resize`. (H, W, C) -> (*size_hw, C)."""
    height, width = size_hw
    shape = (image.shape[0], width, image.shape[2])
    narrow = torch.empty(shape, dtype=torch.uint8, device="cpu")
    for start in range(0, image.shape[0], ROWS_PER_STRIP):
        strip = slice(start, start + ROWS_PER_STRIP)
        columns = torch.from_numpy(np.array(image[strip].transpose(1, 0, 2), order="C"))
        narrow[strip] = _resize_first_axis(columns, width).transpose(0, 1)
    return _resize_first_axis(narrow, height).numpy()


def _resize_first_axis(lines: Tensor, length: int) -> Tensor:
    """(L, M, C) uint8 -> (length, M, C) uint8.

    Each result weighs a few neighbouring lines, so the matrix of weights is a narrow band. It is
    multiplied block by block in float64, where sums of such whole numbers are exact.
    """
    if lines.shape[0] == length:
        return lines
    first, weights = _weights(lines.shape[0], length)
    flat = lines.flatten(1)
    resized = torch.empty((length, flat.shape[1]), dtype=torch.uint8, device="cpu")
    for start in range(0, length, ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        band = _band(first[block], weights[block])
        source = flat[first[start] : first[start] + band.shape[1]]
        sums = torch.from_numpy(band[:, : len(source)]) @ source.double()
        torch.floor(sums.div_(WEIGHT_ONE).add_(0.5), out=sums)
        resized[block] = sums  # at most 255, as no weight is negative
    return resized.view(length, *lines.shape[1:])


def _weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first line under each result's triangle, (new,), and the weights from there, (new, K)."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum(centre - support + 0.5, 0).astype(np.int64)
    end = np.minimum(centre + support + 0.5, old).astype(np.int64)
    lines = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    triangle = np.maximum(1 - np.abs((lines - centre[:, None] + 0.5) / support), 0)
    triangle[lines >= end[:, None]] = 0
    return first, np.floor(triangle / triangle.sum(axis=1, keepdims=True) * WEIGHT_ONE + 0.5)


def _band(first: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows of weights, each at its own place, as one dense matrix that starts at first[0]."""
    offset = first - first[0]
    band = np.zeros((len(first), offset[-1] + weights.shape[1]))
    places = offset[:, None] + np.arange(weights.shape[1])
    np.put_along_axis(band, places, weights, axis=1)
    return band
