"""Masks as the page's columns: plain values, of which JSON is made. N masks."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from amg_cli.core.candidates import Candidates
from amg_cli.core.mask import Mask, numbered

LEVEL = 1  # of zlib: most of what it saves, in a fraction of its default's time

# What a mask may not have; a column is left out where none of an image's masks has it.
_OPTIONAL = ("pred_iou", "stability_score", "parent", "category", "category_score")


def of_masks(masks: Sequence[Mask]) -> dict[str, Any]:
    """The columns of a run's masks; `id` is each one's number, as files and other masks have it."""
    columns: dict[str, Any] = {
        "id": [number for number, _ in numbered(masks)],
        "rle": _deflated(mask.rle["counts"] for mask in masks),
        "box": [list(mask.box_xyxy) for mask in masks],
        "area": [mask.area_px for mask in masks],
        "point": [_point(mask.point_xy) for mask in masks],
    }
    for name in _OPTIONAL:
        values = [getattr(mask, name) for mask in masks]
        if any(value is not None for value in values):
            columns[name] = [_short(value) for value in values]
    return columns


def of_candidates(candidates: Candidates) -> dict[str, Any]:
    """The columns of candidates, with scores that are the same float32 when they are read."""
    columns: dict[str, Any] = {
        "rle": _deflated(rle["counts"] for rle in candidates.rles),
        "box": candidates.boxes_xyxy.tolist(),
        "area": candidates.areas_px.tolist(),
        "pred_iou": [_short(value) for value in candidates.pred_iou.numpy()],
        "stability_score": [_short(value) for value in candidates.stability_score.numpy()],
        "point": [_point(point) for point in candidates.points_xy.tolist()],
    }
    if candidates.nb_views == 1:
        return columns
    crops = candidates.crop_boxes_xyxy.tolist()
    return columns | {"crop": crops, "nb_views": candidates.nb_views}


def names_of(columns: Mapping[str, Any]) -> set[str]:
    """The columns that masks may have or not, among those of an image."""
    return set(columns) & {*_OPTIONAL, "nb_views"}


def _deflated(counts: Iterable[str]) -> str:
    """The counts of RLEs, a line each, as zlib and base64 have them: less than half the text."""
    return base64.b64encode(zlib.compress("\n".join(counts).encode("ascii"), LEVEL)).decode("ascii")


def _short(value: Any) -> Any:
    """A number in as few digits as tell it from its neighbours in float32."""
    return float(str(np.float32(value))) if isinstance(value, (float, np.floating)) else value


def _point(point_xy: Sequence[float] | None) -> list[float] | None:
    return None if point_xy is None else [round(value, 2) for value in point_xy]
