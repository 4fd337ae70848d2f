"""One line of JSON an image, for pipelines; also what a run keeps of each image until its end.

    {"image_id": 1, "name": "a", "file_name": "a.jpg", "width": 640, "height": 480, "masks": [
     {"id": 0, "segmentation": {"size": [480, 640], "counts": "…"}, "bbox": [x, y, w, h],
      "area": 12, "predicted_iou": 0.97, "stability_score": 0.98,
      "point": [x, y], "crop_box": [x, y, w, h]}, …]}

All on one line. `segmentation` is COCO RLE; `bbox` is COCO's, of all pixels of the mask, so both
sides are one more than in the reference's files. What is not known of a mask is left out. An image
without masks has an empty list; one that has a number or name in a data set has `data_set_id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amg_cli.core.mask import Mask
from amg_cli.formats.boxes import coco_box, inclusive_box, xywh, xyxy
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.result import Result
from amg_cli.formats.text import begins

_OPTIONAL = ("category", "category_score", "category_id", "parent")


def line_of(result: Result) -> str:
    """The line of an image, with its end."""
    height, width = result.image_hw
    values: dict[str, Any] = {
        "image_id": result.number,
        "name": result.name,
        "file_name": result.file_name,
        "width": width,
        "height": height,
    }
    if result.data_set_id is not None:
        values["data_set_id"] = result.data_set_id
    values["masks"] = [_record(number, mask) for number, mask in result.numbered]
    return json.dumps(values, separators=(",", ":")) + "\n"


def line_of_failure(number: int, file_name: str, error: object) -> str:
    """The line of an image that could not be done: why, and no masks."""
    values = {"image_id": number, "file_name": file_name, "error": str(error), "masks": []}
    return json.dumps(values, separators=(",", ":")) + "\n"


def line_of_prompt(
    number: int,
    prompt_id: Any,
    file_name: str,
    image_hw: tuple[int, int],
    masks: Sequence[Mask],
    error: object,
) -> str:
    """The line of a prompt: `line`, its number; `id`, what it is called; else as of an image.

    error: why there are no masks, or None
    """
    height, width = image_hw
    values: dict[str, Any] = {"line": number, "id": prompt_id, "file_name": file_name}
    if error is None:
        values |= {"width": width, "height": height}
    else:
        values["error"] = str(error)
    values["masks"] = [_record(i, mask) for i, mask in enumerate(masks)]
    return json.dumps(values, separators=(",", ":")) + "\n"


def result_of(line: str | bytes) -> Result:
    """The image of a line. Raises ValueError for another."""
    try:
        values = json.loads(line)
        return Result(
            number=int(values["image_id"]),
            name=str(values["name"]),
            file_name=str(values["file_name"]),
            image_hw=(int(values["height"]), int(values["width"])),
            masks=tuple(_mask(record) for record in values["masks"]),
            data_set_id=values.get("data_set_id"),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no line of an image's masks ({error!r})") from error


def _record(number: int, mask: Mask) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": number if mask.id is None else mask.id,
        "segmentation": mask.rle,
        "bbox": coco_box(mask.box_xyxy),
        "area": mask.area_px,
        "predicted_iou": mask.pred_iou,
        "stability_score": mask.stability_score,
    }
    if mask.point_xy is not None:
        record["point"] = list(mask.point_xy)
    if mask.crop_box_xyxy is not None:
        record["crop_box"] = xywh(mask.crop_box_xyxy)
    more = {name: getattr(mask, name) for name in _OPTIONAL}
    return record | {name: value for name, value in more.items() if value is not None}


def _mask(record: Mapping[str, Any]) -> Mask:
    point, crop = record.get("point"), record.get("crop_box")
    return Mask(
        rle=record["segmentation"],
        box_xyxy=inclusive_box(record["bbox"]),
        pred_iou=float(record["predicted_iou"]),
        stability_score=float(record["stability_score"]),
        point_xy=None if point is None else (float(point[0]), float(point[1])),
        crop_box_xyxy=None if crop is None else xyxy(crop),
        id=int(record["id"]),
        **{name: record.get(name) for name in _OPTIONAL},
    )


class _Writer:
    """Writes a line an image."""

    def __init__(self, output: Output) -> None:
        self._file = output.path.open("x", encoding="ascii", newline="\n")

    def add(self, result: Result) -> None:
        """Its line."""
        self._file.write(line_of(result))

    def close(self) -> None:
        """All lines are on the disk."""
        self._file.close()


def is_own(path: Path) -> bool:
    """Whether a file begins as a line of an image."""
    return begins(path, '{"image_id":')


def read(path: Path) -> Iterator[Result]:
    """The images of a file, in its order."""
    with path.open("rb") as file:
        yield from map(result_of, file)


FORMAT = RunFormat(file_name="masks.ndjson", open=_Writer, is_own=is_own, read=read)
