"""A mask's outline as polygons, through the corners of its pixels."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.mask import Mask


def polygons_of(mask: Mask) -> list[list[float]]:
    """One polygon a part, as COCO has them: [x0, y0, x1, y1, …], in pixels, 0 being the left edge.

    Filled as pycocotools does, they give the mask again, pixel by pixel, but for its holes, which
    such polygons cannot hold.
    """
    x0, y0, x1, y1 = mask.box_xyxy
    window = mask.array()[y0 : y1 + 1, x0 : x1 + 1].astype(np.uint8)
    # At twice the size a pixel's first cell begins at an even place, and its last ends at an odd
    # one, so that each corner of the outline is known: a cell at 2i or 2i - 1 is beside corner i.
    cells = window.repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(cells, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_flat((contour[:, 0].astype(np.int64) + 1) // 2 + (x0, y0)) for contour in contours]


def _flat(corners: NDArray[np.int64]) -> list[float]:
    """Without corners that come twice, or on a straight line. (P, 2) -> 2 P' numbers."""
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    (x_in, y_in), (x_out, y_out) = (
        (corners - np.roll(corners, 1, axis=0)).T,
        (np.roll(corners, -1, axis=0) - corners).T,
    )
    turns = x_in * y_out != y_in * x_out
    return cast(list[float], corners[turns].astype(float).ravel().tolist())
