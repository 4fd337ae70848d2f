"""Boxes as files have them: x, y, width, height. In memory they are XYXY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def coco_box(box_xyxy: tuple[int, int, int, int]) -> list[int]:
    """[x, y, width, height] of a box whose right and bottom are inclusive."""
    x0, y0, x1, y1 = box_xyxy
    return [x0, y0, x1 - x0 + 1, y1 - y0 + 1]


def inclusive_box(bbox: Any) -> tuple[int, int, int, int]:
    """The XYXY box, right and bottom inclusive, of COCO's."""
    x, y, width, height = (round(float(value)) for value in bbox)
    return x, y, x + width - 1, y + height - 1


def xywh(box_xyxy: tuple[int, int, int, int]) -> list[int]:
    """[x, y, width, height] by the differences: of a crop, or of a box as the reference has it."""
    x0, y0, x1, y1 = box_xyxy
    return [x0, y0, x1 - x0, y1 - y0]


def xyxy(box_xywh: Sequence[float | str]) -> tuple[int, int, int, int]:
    """The box of `xywh`, whose numbers may be text, or floats of whole numbers."""
    x0, y0, width, height = (int(float(value)) for value in box_xywh)
    return x0, y0, x0 + width, y0 + height
