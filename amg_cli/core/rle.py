"""COCO run-length encoding, through pycocotools.

An `Rle` is what COCO files hold: size (h, w), and the runs of the column-major mask, zeros first,
compressed to text. H and W are the mask's height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


class Rle(TypedDict):
    """A compressed mask, as in a COCO file and as pycocotools takes it."""

    size: list[int]
    counts: str


def encode(mask: NDArray[np.bool_]) -> Rle:
    """(H, W) bool -> Rle."""
    return encode_all(mask[None])[0]


def encode_all(masks: NDArray[np.bool_]) -> list[Rle]:
    """(N, H, W) bool -> N Rles."""
    columns_first = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8, copy=False))
    return [
        {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
        for rle in coco_mask.encode(columns_first)
    ]


def changes(
    strips: Iterable[NDArray[np.bool_]], top_left: tuple[int, int], size_hw: tuple[int, int]
) -> NDArray[np.int64]:
    """Where a mask changes between 0, which it starts with, and 1: ascending places, down columns.

    strips: of columns, side by side from `top_left` on, outside which the mask of `size_hw` is
        empty. Each is (h, w) bool, h the same for all. They may come one at a time; no more is kept
        of them than their changes.
    """
    found, nb_read, last, column_px = [], 0, False, 1
    for strip in strips:
        height, width = strip.shape
        # Two columns are parted by at least one empty pixel, but where they have the mask's height.
        column_px = height + (height < size_hw[0])
        flat = np.zeros(1 + width * column_px, dtype=bool)
        flat[0] = last
        flat[1:].reshape(width, column_px)[:, :height] = strip.T
        found.append(nb_read + np.flatnonzero(flat[1:] != flat[:-1]))
        nb_read, last = nb_read + width * column_px, bool(flat[-1])
    found.append(np.array([nb_read] if last else [], dtype=np.int64))
    return in_mask(np.concatenate(found), column_px, top_left, size_hw)


def in_mask(
    places: NDArray[np.int64], column_px: int, top_left: tuple[int, int], size_hw: tuple[int, int]
) -> NDArray[np.int64]:
    """Places in strips that are read column by column, as places in the mask.

    column_px: pixels of a column as read; top_left: where the first of them lies in the mask
    """
    (top, left), height = top_left, size_hw[0]
    between_columns = height - column_px
    first = left * height + top
    return places + (places // (column_px or 1) * between_columns + first)


def from_changes(places: NDArray[np.int64], size_hw: tuple[int, int]) -> Rle:
    """The mask that changes at `places`, as of `changes`."""
    height, width = size_hw
    runs = np.diff(places, prepend=0, append=height * width)
    if runs[-1] == 0:  # the mask ends with the image
        runs = runs[:-1]
    uncompressed = {"size": [height, width], "counts": runs.astype(np.uint32)}
    compressed = coco_mask.frPyObjects(uncompressed, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def box_of_changes(
    places: NDArray[np.int64], size_hw: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """XYXY of the pixels of the mask that changes at `places`, inclusive; None if it is empty."""
    if not len(places):
        return None
    height = size_hw[0]
    left, top = np.divmod(places[0::2], height)
    right, bottom = np.divmod(places[1::2] - 1, height)
    if (left < right).any():  # it goes on from one column to the next
        return int(left[0]), 0, int(right[-1]), height - 1
    return int(left[0]), int(top.min()), int(right[-1]), int(bottom.max())


def area_of_changes(places: NDArray[np.int64]) -> int:
    """Number of pixels in the mask that changes at `places`."""
    return int(places[1::2].sum() - places[0::2].sum())


def box(rle: Rle) -> tuple[int, int, int, int]:
    """XYXY of a mask's pixels, right and bottom inclusive; 0, 0, 0, 0 for an empty mask."""
    x, y, width, height = (int(value) for value in coco_mask.toBbox(rle))
    return (x, y, x + width - 1, y + height - 1) if width and height else (0, 0, 0, 0)


def from_coco(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """A mask as COCO files have it: runs that are not compressed, or polygons, which are filled.

    Raises ValueError, TypeError or LookupError for something else.
    """
    if isinstance(segmentation, dict):
        runs = {"size": list(size_hw), "counts": [int(run) for run in segmentation["counts"]]}
        whole = coco_mask.frPyObjects(runs, *size_hw)
    else:
        polygons = [[float(value) for value in polygon] for polygon in segmentation]
        # Of four numbers pycocotools would make a box.
        polygons = [polygon for polygon in polygons if len(polygon) >= 6]
        if not polygons:
            return encode(np.zeros(size_hw, dtype=bool))
        whole = coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw))
    return {
        "size": [int(side) for side in whole["size"]],
        "counts": whole["counts"].decode("ascii"),
    }


def decode(rle: Rle) -> NDArray[np.bool_]:
    """Rle -> (H, W) bool, C order. Raises ValueError for runs that do not fill the mask.

    Not by pycocotools: on its way through numpy's `__array__` a warning that is an error, or an
    interrupt, becomes a TypeError.
    """
    height, width = rle["size"]
    runs = _runs_of(rle["counts"])
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def decode_window(rle: Rle, box_xyxy: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """The part of a mask in a box, right and bottom inclusive. -> (h, w) bool, C order."""
    x0, y0, x1, y1 = box_xyxy
    height, _ = rle["size"]
    ends = np.cumsum(_runs_of(rle["counts"]))
    # The runs that reach into the box's columns, cut at their edges.
    first, last = x0 * height, (x1 + 1) * height
    begin, end = np.searchsorted(ends, [first, last], side="right")
    inside = np.clip(ends[begin : end + 1], first, last)
    if not len(inside) or inside[-1] < last:
        inside = np.append(inside, last)
    runs = np.diff(inside, prepend=first)
    flat = np.repeat((begin + np.arange(len(runs))) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(x1 + 1 - x0, height)[:, y0 : y1 + 1].T)


def sampled(rle: Rle, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The mask at some of its rows, h of them, and columns, w, both ascending. -> (h, w) bool

    By its runs, so that a few places of a large mask take little. Raises ValueError for runs that
    do not fill the mask.
    """
    height, width = rle["size"]
    runs = _runs_of(rle["counts"])
    column, row = np.divmod(np.cumsum(runs), height)
    # How many of the asked lie before each column and row; the last run ends behind all columns.
    columns_before = np.searchsorted(columns, np.arange(width + 2))
    rows_before = np.searchsorted(rows, np.arange(height))
    is_asked = columns_before[column + 1] - columns_before[column]
    ends = len(rows) * columns_before[column] + is_asked * rows_before[row]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, np.diff(ends, prepend=0))
    return np.ascontiguousarray(flat.reshape(len(columns), len(rows)).T)


def area(rle: Rle) -> int:
    """Number of pixels in the mask."""
    return int(coco_mask.area(rle))


def counts(rle: Rle) -> list[int]:
    """The run lengths: of 0 (perhaps none), of 1, of 0, … over the mask read column by column."""
    return _runs_of(rle["counts"]).tolist()


def merge(rles: Sequence[Rle]) -> Rle:
    """The union of masks of one size."""
    merged = coco_mask.merge(list(rles))
    return {
        "size": [int(side) for side in merged["size"]],
        "counts": merged["counts"].decode("ascii"),
    }


def smallest_over(rles: Sequence[Rle], size_hw: tuple[int, int]) -> NDArray[np.int32]:
    """For each pixel which mask it is of: the one of fewest pixels over it, of equals the earlier.

    N Rles of one size, -> (H, W), 0 … N - 1, or -1 where there is none.
    """
    owners = np.full(size_hw, -1, dtype=np.int32)
    # The largest first, so that smaller ones are painted over it; one mask in memory at a time.
    for i in sorted(range(len(rles)), key=lambda i: (area(rles[i]), i), reverse=True):
        x0, y0, x1, y1 = found = box(rles[i])
        owners[y0 : y1 + 1, x0 : x1 + 1][decode_window(rles[i], found)] = i
    return owners


def minus(a: Rle, b: Rle) -> Rle:
    """The pixels of `a` that are not of `b`. By their runs, so that large masks take no more."""
    of_a, of_b = (np.cumsum(_runs_of(rle["counts"]))[:-1] for rle in (a, b))
    places = np.union1d(of_a, of_b)
    inside, taken = (
        np.searchsorted(changes_, places, side="right") % 2 == 1 for changes_ in (of_a, of_b)
    )
    left = inside & ~taken
    return from_changes(
        places[left != np.concatenate([[False], left[:-1]])], (a["size"][0], a["size"][1])
    )


def shares(
    parts: Sequence[Rle], wholes: Sequence[Rle], of_parts: bool = False
) -> NDArray[np.float64]:
    """IoU of every mask of `parts`, N, with every one of `wholes`, K. -> (N, K)

    of_parts: instead the share of each part's own pixels that lie in each of the others
    """
    if not len(parts) or not len(wholes):
        return np.zeros((len(parts), len(wholes)))
    found = coco_mask.iou(list(parts), list(wholes), [int(of_parts)] * len(wholes))
    return np.asarray(found, dtype=np.float64).reshape(len(parts), len(wholes))


def check(rle: Rle) -> None:
    """Raises ValueError, TypeError or LookupError unless the runs of a mask fill its size.

    pycocotools trusts them: it hangs or crashes on others.
    """
    height, width = rle["size"]
    runs = _runs_of(rle["counts"])
    if height < 1 or width < 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"damaged RLE: its runs do not fill {height} x {width} pixels")


def _runs_of(counts: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The run lengths that COCO's compressed text stands for: base 32, differences from the third.

    Each character holds five bits from 48 on, the lowest first; the sixth bit says that more
    follow, and the last one's fifth bit is the sign.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    lengths = np.diff(ends, prepend=-1)
    known = len(codes) > 0 and codes.min() >= 0 and codes.max() < 64
    if not known or ends[-1:].tolist() != [len(codes) - 1] or lengths.max() > 8:
        raise ValueError("damaged RLE: its counts are not COCO's")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
