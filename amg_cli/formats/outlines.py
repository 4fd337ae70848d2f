"""A mask's outline as polygons, through the corners of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.mask import Mask

_CORNERS_COMPARED = 2**11


Ring = NDArray[np.int64]  # (P, 2): x and y of a closed outline's corners, in pixels


@dataclass(frozen=True)
class Part:
    """A part of a mask that hangs together: its outline, and those of its holes."""

    outer: Ring
    holes: tuple[Ring, ...]


def polygons_of(mask: Mask, tolerance: float = 0.0) -> list[list[float]]:
    """One polygon a part, as COCO has them: [x0, y0, x1, y1, …], in pixels, 0 being the left edge.

    Filled as pycocotools does, they give the mask again, pixel by pixel, but for its holes, which
    such polygons cannot hold. tolerance: as of `parts_of`
    """
    outers = (part.outer for part in parts_of(mask, tolerance))
    return [cast(list[float], ring.astype(float).ravel().tolist()) for ring in outers]


def parts_of(mask: Mask, tolerance: float = 0.0) -> list[Part]:
    """The mask's parts, by the corners of their outlines, 0 being the left edge of the image.

    tolerance: how far, in pixels, the outlines may lie from the mask's, to have fewer corners
    """
    x0, y0, _, _ = mask.box_xyxy
    window = mask.window().astype(np.uint8)
    # At twice the size a pixel's first cell begins at an even place, and its last ends at an odd
    # one, so that each corner of the outline is known: a cell at 2i or 2i - 1 is beside corner i.
    cells = window.repeat(2, axis=0).repeat(2, axis=1)
    contours, nesting = cv2.findContours(cells, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_ring(contour[:, 0].astype(np.int64), (x0, y0), tolerance) for contour in contours]
    holes: dict[int, list[Ring]] = {}
    parents: list[int] = nesting[0, :, 3].tolist() if len(contours) else []
    for ring, parent in zip(rings, parents, strict=True):
        holes.setdefault(parent, []).append(ring)
    return [Part(rings[i], tuple(holes.get(i, ()))) for i, p in enumerate(parents) if p < 0]


def joined(parts: Sequence[Part]) -> Ring:
    """All outlines as one, for formats that have one polygon an object. -> (P, 2)

    Each is left where the next comes nearest to it, and gone on with by the same way, which has no
    area. So holes stay holes where a polygon is filled by the even-odd rule.
    """
    rings = [ring for part in parts for ring in (part.outer, *part.holes)]
    contacts = [_nearest(a, b) for a, b in pairwise(rings)]
    there: list[Ring] = []
    back: list[Ring] = []
    met = 0  # the corner at which a ring is entered, and left again at the end
    for ring, (left, next_met) in zip(rings, contacts, strict=False):
        there.append(ring[met : left + 1] if met <= left else _round(ring, met, left))
        back.append(_round(ring, left, met))
        met = next_met
    # The first ring ends with the corner that it began with.
    return np.concatenate([*there, _round(rings[-1], met, met), *reversed(back)])[:-1]


def _round(ring: Ring, start: int, end: int) -> Ring:
    """From one corner on to another, both included; all the way round if they are the same."""
    if start < end:
        return ring[start : end + 1]
    return np.concatenate([ring[start:], ring[: end + 1]])


def _nearest(a: Ring, b: Ring) -> tuple[int, int]:
    """The corners of two outlines that are nearest to each other; of very long ones, about."""
    step_a, step_b = (-(-len(ring) // _CORNERS_COMPARED) for ring in (a, b))
    few_a, few_b = a[::step_a].astype(np.float64), b[::step_b].astype(np.float64)
    squares = (few_b * few_b).sum(axis=1) - 2 * (few_a @ few_b.T)
    squares += (few_a * few_a).sum(axis=1)[:, None]
    i, j = divmod(int(squares.argmin()), len(few_b))
    return i * step_a, j * step_b


def _ring(cells: NDArray[np.int64], top_left: tuple[int, int], tolerance: float) -> Ring:
    """The corners of an outline of cells, with no more of them than are needed."""
    corners = _turns((cells + 1) // 2)
    if tolerance > 0:
        fewer = cv2.approxPolyDP(corners.astype(np.int32)[:, None], tolerance, closed=True)[:, 0]
        corners = fewer.astype(np.int64) if len(fewer) > 2 else corners
    return corners + top_left


def _turns(corners: NDArray[np.int64]) -> Ring:
    """Without corners that come twice, or on a straight line."""
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    (x_in, y_in), (x_out, y_out) = (
        (corners - np.roll(corners, 1, axis=0)).T,
        (np.roll(corners, -1, axis=0) - corners).T,
    )
    return corners[x_in * y_out != y_in * x_out]
