"""Masks from a COCO results file: a JSON list of image_id, segmentation and score.

It is read as a stream and kept on the disk by image, so a file of any size takes little memory.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from amg_cli.core.errors import InputError
from amg_cli.core.mask import Mask
from amg_cli.evaluate.truth import MALFORMED, to_rle

FIELDS = "a list of records with image_id, segmentation and score"


def split_by_image(path: Path, folder: Path) -> None:
    """Write the records of each image to a file of its own in `folder`.

    Raises InputError for a file that is not there, or of another kind.
    """
    # Records of one image mostly come together: its file is opened once for all of them.
    for image_id, records in itertools.groupby(
        _records(path), lambda record: _image_id(record, path)
    ):
        with image_file(folder, image_id).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def image_file(folder: Path, image_id: object) -> Path:
    """Where `split_by_image` puts the records of an image; not there for one without any."""
    return folder / f"{quote(str(image_id), safe='')}.jsonl"


def read_image_results(path: Path, size_hw: tuple[int, int]) -> list[Mask]:
    """The masks of one image, best score first, from its `image_file`.

    What a results file does not say of a mask is nan or 0. Raises InputError for a record that is
    no mask of an image of that size.
    """
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    try:
        masks = [_mask(record, size_hw) for record in records]
    except MALFORMED as error:
        cause = f"image {path.stem}: a record that is no mask of it ({error!r})"
        raise InputError("results", cause, f"it must be {FIELDS}") from error
    return sorted(masks, key=lambda mask: -mask.pred_iou)


def _mask(record: dict[str, Any], size_hw: tuple[int, int]) -> Mask:
    rle = to_rle(record["segmentation"], size_hw)
    nowhere = (0, 0, 0, 0)
    nan = float("nan")
    return Mask(rle, nowhere, float(record["score"]), nan, (nan, nan), nowhere)


def _image_id(record: Any, path: Path) -> str:
    if not isinstance(record, dict) or "image_id" not in record:
        raise InputError(path, "a record without an image_id", f"it must be {FIELDS}")
    return str(record["image_id"])


def _records(path: Path) -> Iterator[Any]:
    try:
        import ijson
    except ImportError as error:
        remedy = "pip install 'amg-cli[eval]'"
        raise InputError(path, "a COCO results file is read by ijson", remedy) from error
    try:
        with path.open("rb") as file:
            if next(ijson.basic_parse(file))[0] != "start_array":
                raise InputError(path, "not a list", f"it must be {FIELDS}")
            file.seek(0)
            yield from ijson.items(file, "item", use_float=True)
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "check `masks`") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        message = error.args[0]
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(error)
        cause = f"not JSON: {text.partition(chr(10))[0].strip()}"
        raise InputError(path, cause, f"it must be {FIELDS}") from error
