"""The reference's `--convert-to-rle` output: one JSON list of records with COCO RLE masks.

Source: `scripts/amg.py` of segment-anything 1.0. Not a COCO data set: `bbox` is one pixel less wide
and high than COCO's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from amg_cli.core.masks import Mask
from amg_cli.formats.format import Format

KEYS = {"segmentation", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}
_FIRST_BYTES = 2**13  # most first records are shorter


def is_own(path: Path) -> bool:
    """Whether a file begins as a list of such records, or is an empty list."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        size, text = _FIRST_BYTES, ""
        while piece := file.read(size).decode("ascii", errors="replace"):
            text, size = text + piece, 2 * size
            begins = re.match(r"\s*\[\s*([]{])", text)
            if not begins or begins[1] == "]":
                return begins is not None
            with suppress(ValueError):  # of a record that goes on
                record, _ = json.JSONDecoder().raw_decode(text, begins.start(1))
                return record.keys() >= KEYS
    # Cut off within the first record: known by how it begins, so that it is told to be damaged.
    return re.match(r'\s*\[\s*{\s*"segmentation"', text) is not None


def write(masks: Sequence[Mask], path: Path) -> None:
    """A bare list of `Mask.to_reference_dict` records."""
    records = [mask.to_reference_dict("coco_rle") for mask in masks]
    path.write_text(json.dumps(records), encoding="ascii")


def read(path: Path) -> list[Mask]:
    """The masks of such a file, ours or the reference's own, in order."""
    try:
        return [_mask(record) for record in json.loads(path.read_text(encoding="ascii"))]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a list of mask records ({error!r})") from error


def _mask(record: dict[str, Any]) -> Mask:
    point_x, point_y = record["point_coords"][0]
    return Mask(
        rle=record["segmentation"],
        box_xyxy=_box_xyxy(record["bbox"]),
        pred_iou=record["predicted_iou"],
        stability_score=record["stability_score"],
        point_xy=(point_x, point_y),
        crop_box_xyxy=_box_xyxy(record["crop_box"]),
    )


def _box_xyxy(box_xywh: Sequence[float]) -> tuple[int, int, int, int]:
    # The reference writes some boxes as floats.
    x0, y0, width, height = (int(value) for value in box_xywh)
    return x0, y0, x0 + width, y0 + height


FORMAT = Format(suffix=".json", is_own=is_own, write=write, read=read)
