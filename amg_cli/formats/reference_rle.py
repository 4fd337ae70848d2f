"""The reference's `--convert-to-rle` output: one JSON list of records with COCO RLE masks.

Source: `scripts/amg.py` of segment-anything 1.0. Not a COCO data set: `bbox` is one pixel less wide
and high than COCO's.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from amg_cli.core.mask import Mask
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.reference_record import mask_of, reference_record
from amg_cli.formats.result import Result

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


def write(result: Result, output: Output) -> None:
    """A bare list of the reference's records."""
    records = [reference_record(mask) for mask in result.masks]
    output.path.write_text(json.dumps(records), encoding="ascii")


def read(path: Path) -> list[Mask]:
    """The masks of such a file, ours or the reference's own, in order."""
    try:
        records = json.loads(path.read_text(encoding="ascii"))
        return [mask_of(record["segmentation"], record) for record in records]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a list of mask records ({error!r})") from error


FORMAT = ImageFormat(suffix=".json", write=write, is_own=is_own, read=read)
