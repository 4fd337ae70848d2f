"""Masks from a COCO results file: a JSON list of image_id, segmentation and score.

It is read as a stream and kept on the disk by image, so a file of any size takes little memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amg_cli.core.errors import InputError
from amg_cli.core.masks import Mask
from amg_cli.evaluate.truth import to_rle

FIELDS = "a list of records with image_id, segmentation and score"


def split_by_image(path: Path, folder: Path) -> None:
    """Write the records of each image to a file of its own in `folder`.

    Raises InputError for a file that is not there, or of another kind.
    """
    for record in _records(path):
        if not isinstance(record, dict) or "image_id" not in record:
            raise InputError(path, "a record without an image_id", f"it must be {FIELDS}")
        with (folder / f"{record['image_id']}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_image_results(path: Path, size_hw: tuple[int, int]) -> list[Mask]:
    """The masks of one image, best score first, from a file of `split_by_image`; none without it.

    What a results file does not say of a mask is nan or 0.
    """
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    try:
        masks = [_mask(record, size_hw) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        cause = f"image {path.stem}: a record that is no mask of it ({error!r})"
        raise InputError("results", cause, f"it must be {FIELDS}") from error
    return sorted(masks, key=lambda mask: -mask.pred_iou)


def _mask(record: dict[str, Any], size_hw: tuple[int, int]) -> Mask:
    rle = to_rle(record["segmentation"], size_hw)
    nowhere = (0, 0, 0, 0)
    nan = float("nan")
    return Mask(rle, nowhere, float(record["score"]), nan, (nan, nan), nowhere)


def _records(path: Path) -> Iterator[Any]:
    try:
        import ijson
    except ImportError as error:
        remedy = "pip install 'amg-cli[eval]'"
        raise InputError(path, "a COCO results file is read by ijson", remedy) from error
    try:
        with path.open("rb") as file:
            yield from ijson.items(file, "item", use_float=True)
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "check --masks") from error
    except ijson.JSONError as error:
        raise InputError(path, f"not JSON: {error}", f"it must be {FIELDS}") from error
