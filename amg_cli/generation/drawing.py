"""From low-resolution logits to a mask of the image, at the work of its outline.

The bilinear steps of `Frame.to_image_logits` are linear along each axis, so together they are
one matrix an axis, with a few weights a row. A pixel's weights are positive and sum to 1, so its
logit lies between those of the cells it draws on. The image is cut into blocks: where all cells of
a block are under the thresholds, or all over them, its pixels are known; the others are computed.

h, w: low-resolution cells; H, W: pixels of the image (or crop); Bh, Bw: pixels of a block's sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.frame import Frame

CELLS_A_BLOCK = 8  # a block's side; an outline's blocks are wider by the cells a pixel draws on
BLOCKS_AT_A_TIME_PX = 2**20  # pixels: four megabytes of logits
STRIP_PX = 2**20  # pixels of a mask that are put together at a time
MASKS_TOGETHER, PIXELS_TOGETHER = 8, 2**26  # drawn in one go: so many, of so many pixels in all


@dataclass(frozen=True)
class DrawnMask:
    """A mask of the image in blocks.

    nb_high, nb_low: pixels over the threshold plus the offset, and over it less that
    inside: (rows, columns) of blocks, which are all mask
    at: (U, 2), row and column of the blocks that are in part, or not known to be whole
    packed: (U, Bh * Bw / 8) uint8, the mask in those, eight pixels a byte, as every worker holds
        some; no pixel outside the image is of it
    block_hw, image_hw: the size of a block and of the image, in pixels
    """

    nb_high: int
    nb_low: int
    inside: NDArray[np.bool_]
    at: NDArray[np.int64]
    packed: NDArray[np.uint8]
    block_hw: tuple[int, int]
    image_hw: tuple[int, int]

    @property
    def stability_score(self) -> float:
        """IoU of the mask thresholded high and low, in [0, 1]; 0 if it is empty at the low one."""
        return float(np.float32(self.nb_high) / np.float32(max(self.nb_low, 1)))

    @property
    def top_left(self) -> tuple[int, int]:
        """Where in the image the first pixel of the first strip lies."""
        (top, _), (left, _) = self._blocks()
        return top * self.block_hw[0], left * self.block_hw[1]

    def strips(self) -> Iterator[NDArray[np.bool_]]:
        """The pixels of the mask, (h, w) bool, from left to right, all of the same rows.

        A strip is as many columns of blocks as have `STRIP_PX` pixels, at least one; a mask without
        blocks has none. Its columns are contiguous.
        """
        (top, bottom), (left, right) = self._blocks()
        column_px = (bottom - top) * math.prod(self.block_hw)
        at_a_time = max(1, STRIP_PX // max(1, column_px))
        for first in range(left, right, at_a_time):
            yield self._strip((top, bottom), (first, min(first + at_a_time, right)))

    def array(self) -> NDArray[np.bool_]:
        """The whole mask, (H, W) bool, at the size of the image."""
        (rows, columns), (block_h, block_w) = self.inside.shape, self.block_hw
        blocks = np.empty((rows, block_h, columns, block_w), np.bool_)
        blocks[:] = self.inside[:, None, :, None]
        in_part = np.unpackbits(self.packed, axis=1, count=block_h * block_w).view(bool)
        row, column = self.at.T
        blocks.transpose(0, 2, 1, 3)[row, column] = in_part.reshape(-1, block_h, block_w)
        height, width = self.image_hw
        return blocks.reshape(rows * block_h, columns * block_w)[:height, :width]

    def _blocks(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of blocks that may have pixels: the first, and after the last."""
        some = self.inside.copy()
        some[tuple(self.at.T)] = True
        return _span(some.any(axis=1)), _span(some.any(axis=0))

    def _strip(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """The pixels of some rows and columns of blocks, as of `_blocks`."""
        (top, bottom), (left, right) = rows, columns
        block_h, block_w = self.block_hw
        whole = self.inside[top:bottom, left:right].T
        # (columns, pixels, rows, pixels), as an RLE goes down the columns
        shape = (right - left, block_w, bottom - top, block_h)
        pixels = np.broadcast_to(whole[:, None, :, None], shape).copy()
        here = (self.at[:, 1] >= left) & (self.at[:, 1] < right)
        row, column = (self.at[here] - (top, left)).T
        in_part = np.unpackbits(self.packed[here], axis=1, count=block_h * block_w).view(bool)
        in_part = in_part.reshape(len(row), block_h, block_w)
        pixels.transpose(0, 2, 1, 3)[column, row] = in_part.transpose(0, 2, 1)
        in_one = pixels.reshape(shape[0] * block_w, shape[2] * block_h).T
        height, width = self.image_hw
        return in_one[: height - top * block_h, : width - left * block_w]


@dataclass(frozen=True)
class _Axis:
    """One axis of the map, in blocks: n of them, of B pixels, drawing on K cells each.

    cells: (n, K), the cells' indices; weights: (n, B, K); nb_pixels: (n,), those in the image
    """

    cells: Tensor
    weights: Tensor
    nb_pixels: NDArray[np.int64]

    @staticmethod
    def of(nb_cells: int, padded: int, resized: int, pixels: int, in_one_step: bool) -> _Axis:
        """Lengths: in cells, and in pixels of the padded input, the resized image, the image.

        in_one_step: from cells to the image's pixels, as where it is stretched
        """
        cell_px = pixels / resized * padded / nb_cells
        block = min(16 * max(1, round(CELLS_A_BLOCK * cell_px / 16)), pixels)
        identity = torch.eye(nb_cells, dtype=torch.float64, device="cpu")[None, None]
        before = identity
        if not in_one_step:
            before = F.interpolate(identity, (padded, nb_cells), mode="bilinear")[:, :, :resized]
        weights = F.interpolate(before, (pixels, nb_cells), mode="bilinear")[0, 0]
        nb_blocks = -(-pixels // block)
        # What is beyond the image is not a number, which is over no threshold.
        weights = F.pad(weights, (0, 0, 0, nb_blocks * block - pixels), value=torch.nan)
        weights = weights.view(nb_blocks, block, nb_cells)
        drawn_on = (weights > 0).any(dim=1).numpy()
        first = drawn_on.argmax(axis=1)
        count = int((nb_cells - drawn_on[:, ::-1].argmax(axis=1) - first).max())
        first = np.minimum(first, nb_cells - count)
        cells = torch.from_numpy(first[:, None] + np.arange(count))
        weights = weights.gather(2, cells[:, None].expand(-1, block, -1)).float()
        nb_pixels = np.minimum(pixels - np.arange(nb_blocks) * block, block)
        return _Axis(cells, weights, nb_pixels)


_one_at_a_time = Lock()  # so that of the workers who need the same axes one makes them


@lru_cache(maxsize=4)
def _axes(frame: Frame, cells_hw: tuple[int, int]) -> tuple[_Axis, _Axis]:
    """Rows and columns. Kept from one mask to the next, as all masks of an image share them."""
    sizes = zip(cells_hw, frame.input_hw, frame.resized_hw, frame.image_hw, strict=True)
    rows, columns = (_Axis.of(*size, frame.stretched) for size in sizes)
    return rows, columns


def draw_masks(
    frame: Frame, low_res: Tensor, threshold: float, offset: float
) -> Iterator[DrawnMask]:
    """The masks where the logits are over `threshold`, and their counts, in order.

    low_res: (K, h, w), finite, on the CPU. The pixels are those of `Frame.to_image_logits`, but for
    rounding. A few masks are drawn together, or one where the image is large.
    """
    if not len(low_res):
        return
    height, width = frame.image_hw
    together = min(MASKS_TOGETHER, max(1, PIXELS_TOGETHER // (height * width)))
    for part in torch.split(low_res, together):
        yield from _draw_together(frame, part, threshold, offset)


def _draw_together(
    frame: Frame, low_res: Tensor, threshold: float, offset: float
) -> Iterator[DrawnMask]:
    """As `draw_masks`, of a few masks, whose blocks are all held."""
    with _one_at_a_time:
        rows, columns = _axes(frame, (low_res.shape[1], low_res.shape[2]))
    coldest, hottest = _extremes(low_res, rows, columns)
    inside = coldest > threshold + abs(offset)
    at = ((hottest > threshold - abs(offset)) & ~inside).nonzero()
    wholes, places = inside.numpy(), at.numpy()
    counts = np.array([2 * [rows.nb_pixels @ whole @ columns.nb_pixels] for whole in wholes])
    block_hw = rows.weights.shape[1], columns.weights.shape[1]
    block_px, packed = math.prod(block_hw), []
    for part in torch.split(at, max(1, BLOCKS_AT_A_TIME_PX // block_px)):
        logits = _logits(low_res, rows, columns, part)
        packed.append(np.packbits((logits > threshold).reshape(len(part), block_px), axis=1))
        for column, bound in enumerate((threshold + offset, threshold - offset)):
            over = logits > bound
            # Counted mask by mask, as numpy counts along an axis ten times as slowly.
            counts[:, column] += [np.count_nonzero(over[of]) for of in _runs(part, len(low_res))]
    pixels = np.concatenate(packed)
    for whole, of, (high, low) in zip(
        wholes, _runs(at, len(low_res)), counts.tolist(), strict=True
    ):
        yield DrawnMask(high, low, whole, places[of, 1:], pixels[of], block_hw, frame.image_hw)


def _runs(at: Tensor, nb_masks: int) -> list[slice]:
    """The rows of `at` that are of each mask, the first column, by which it is sorted."""
    ends = np.searchsorted(at[:, 0].numpy(), np.arange(nb_masks + 1))
    return [slice(first, last) for first, last in pairwise(ends)]


def _extremes(low_res: Tensor, rows: _Axis, columns: _Axis) -> tuple[Tensor, Tensor]:
    """The lowest and the highest logit of the cells each block draws on. -> (K, rows, columns)."""
    by_row = low_res[:, rows.cells]
    low, high = by_row.amin(dim=2), by_row.amax(dim=2)
    return low[:, :, columns.cells].amin(dim=3), high[:, :, columns.cells].amax(dim=3)


def _logits(low_res: Tensor, rows: _Axis, columns: _Axis, at: Tensor) -> NDArray[np.float32]:
    """The pixels of blocks, whose mask, row and column are in `at`, (U, 3). -> (U, Bh, Bw)."""
    mask, row, column = at.unbind(dim=1)
    cells = low_res[
        mask[:, None, None], rows.cells[row][:, :, None], columns.cells[column][:, None]
    ]
    down = torch.bmm(rows.weights[row], cells)
    logits: NDArray[np.float32] = torch.bmm(down, columns.weights[column].mT).numpy()
    return logits


def _span(some: NDArray[np.bool_]) -> tuple[int, int]:
    """From the first that is true to after the last; 0, 0 where none is."""
    places = np.flatnonzero(some)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
