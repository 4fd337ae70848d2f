"""From low-resolution logits to a mask of the image, where there can be one and nowhere else.

The two bilinear steps of `Frame.to_image_logits` are linear along each axis, so together they are
one matrix an axis, with a few weights a row. A pixel's weights are positive and sum to 1: where all
cells it draws on are under a threshold, so is the pixel. So a mask is drawn in tiles, only where
a cell is over the lowest threshold; all the rest of it is empty.

h, w: low-resolution cells; H, W: pixels of the image (or crop).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.frame import Frame

TILE_PX = 512  # a side of a tile: a megabyte of logits, which stays in the cache


@dataclass(frozen=True)
class Window:
    """A mask, as the part of the image that has all its pixels.

    pixels:  (height, width) bool
    top, left: where its first pixel lies in the image
    nb_high, nb_low: pixels of the image over the threshold plus the offset, and over it less that
    """

    pixels: NDArray[np.bool_]
    top: int
    left: int
    nb_high: int
    nb_low: int

    @property
    def stability_score(self) -> float:
        """IoU of the mask thresholded high and low, in [0, 1]; 0 if it is empty at the low one."""
        return float(np.float32(self.nb_high) / np.float32(max(self.nb_low, 1)))

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """The box of the mask's pixels in the image, inclusive; zeros if it is empty."""
        rows, columns = (np.flatnonzero(self.pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return 0, 0, 0, 0
        top, bottom = self.top + int(rows[0]), self.top + int(rows[-1])
        return self.left + int(columns[0]), top, self.left + int(columns[-1]), bottom


class _Axis:
    """One axis of the map. weights: (pixels, cells); first, last: the cells each pixel draws on."""

    def __init__(self, cells: int, padded: int, resized: int, pixels: int) -> None:
        identity = torch.eye(cells, dtype=torch.float64)[None, None]
        in_input = F.interpolate(identity, (padded, cells), mode="bilinear")[:, :, :resized]
        weights = F.interpolate(in_input, (pixels, cells), mode="bilinear")[0, 0]
        drawn_on = (weights > 0).numpy()
        self.weights = weights.float()
        self.first = drawn_on.argmax(axis=1)
        self.last = cells - 1 - drawn_on[:, ::-1].argmax(axis=1)

    def pixels(self, hot: Any) -> tuple[int, int]:
        """The pixels that draw on a hot cell, from the first to after the last. (cells,) bool."""
        cells = np.flatnonzero(hot)
        if not len(cells):
            return 0, 0
        start = int(np.searchsorted(self.last, cells[0]))
        return start, max(start, int(np.searchsorted(self.first, cells[-1], side="right")))

    def tiles(self, start: int, stop: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Pixels, the cells they draw on, and the weights between, tile by tile."""
        for low in range(start, stop, TILE_PX):
            high = min(low + TILE_PX, stop)
            cells = slice(int(self.first[low]), int(self.last[high - 1]) + 1)
            yield slice(low, high), cells, self.weights[low:high, cells]


@lru_cache(maxsize=4)
def _axes(frame: Frame, cells_hw: tuple[int, int]) -> tuple[_Axis, _Axis]:
    """Rows and columns. Kept from one mask to the next, as all masks of an image share them."""
    sizes = zip(cells_hw, frame.input_hw, frame.resized_hw, frame.image_hw, strict=True)
    rows, columns = (_Axis(*size) for size in sizes)
    return rows, columns


def draw_mask(frame: Frame, low_res: Tensor, threshold: float, offset: float) -> Window:
    """The mask where the logits are over `threshold`, and its counts. low_res: (h, w), on the CPU.

    Pixels as `Frame.to_image_logits` has them, but for rounding.
    """
    rows, columns = _axes(frame, (low_res.shape[0], low_res.shape[1]))
    hot: NDArray[np.bool_] = low_res.numpy() > threshold - abs(offset)
    top, bottom = rows.pixels(hot.any(axis=1))
    left, right = columns.pixels(hot.any(axis=0))
    pixels = np.zeros((bottom - top, right - left), dtype=bool)
    nb_high = nb_low = 0
    for down, down_cells, down_weights in rows.tiles(top, bottom):
        for across, across_cells, across_weights in columns.tiles(left, right):
            if not hot[down_cells, across_cells].any():
                continue
            cells = low_res[down_cells, across_cells]
            logits = (down_weights @ cells @ across_weights.T).numpy()
            nb_high += int(np.count_nonzero(logits > threshold + offset))
            nb_low += int(np.count_nonzero(logits > threshold - offset))
            tile = pixels[down.start - top : down.stop - top, across.start - left :]
            np.greater(logits, threshold, out=tile[:, : logits.shape[1]])
    return Window(pixels, top, left, nb_high, nb_low)
