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


def encode_strips(
    strips: Iterable[NDArray[np.bool_]], top_left: tuple[int, int], size_hw: tuple[int, int]
) -> Rle:
    """A mask of (H, W) that is empty but for strips of columns, side by side from `top_left` on.

    Each is (h, w) bool, h the same for all. They may come one at a time; no more is kept of them
    than where a pixel differs from the one before it.
    """
    changes, nb_read, last, column_px = [], 0, False, 1
    for strip in strips:
        columns = strip.T
        if strip.shape[0] < size_hw[0]:  # then at least one empty pixel parts two columns
            columns = np.pad(columns, ((0, 0), (0, 1)))
        flat = np.concatenate([[last], columns.ravel()])
        changes.append(nb_read + np.flatnonzero(flat[1:] != flat[:-1]))
        nb_read, last, column_px = nb_read + columns.size, bool(flat[-1]), columns.shape[1]
    changes.append(np.array([nb_read] if last else [], dtype=np.int64))
    return from_changes(np.concatenate(changes), column_px, top_left, size_hw)


def from_changes(
    changes: NDArray[np.int64], column_px: int, top_left: tuple[int, int], size_hw: tuple[int, int]
) -> Rle:
    """A mask of (H, W), from where it changes between 0, which it starts with, and 1.

    changes: places in strips of columns that are read one column after another
    column_px: pixels of a column as read; top_left: where the first of them lies in the mask
    """
    (top, left), (height, width) = top_left, size_hw
    column, row = np.divmod(changes, column_px or 1)
    places = (left + column) * height + top + row
    runs = np.diff(places, prepend=0, append=height * width)
    if runs[-1] == 0:  # the mask ends with the image
        runs = runs[:-1]
    counts = {"size": [height, width], "counts": runs.tolist()}
    compressed = coco_mask.frPyObjects(counts, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def decode(rle: Rle) -> NDArray[np.bool_]:
    """Rle -> (H, W) bool, C order. Raises ValueError for runs that do not fill the mask.

    Not by pycocotools: on its way through numpy's `__array__` a warning that is an error, or an
    interrupt, becomes a TypeError.
    """
    height, width = rle["size"]
    runs = _runs_of(rle["counts"])
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def area(rle: Rle) -> int:
    """Number of pixels in the mask."""
    return int(coco_mask.area(rle))


def box_xyxy(rle: Rle) -> tuple[int, int, int, int] | None:
    """The box of a mask's pixels, right and bottom inclusive; None if it is empty."""
    ends = _runs_of(rle["counts"]).cumsum()
    last = ends[1::2] - 1
    if not len(last):
        return None
    height = rle["size"][0]
    (left, top), (right, bottom) = (
        np.divmod(places, height) for places in (ends[: 2 * len(last) : 2], last)
    )
    if (left < right).any():  # it goes on from one column to the next
        return int(left.min()), 0, int(right.max()), height - 1
    return int(left.min()), int(top.min()), int(right.max()), int(bottom.max())


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
