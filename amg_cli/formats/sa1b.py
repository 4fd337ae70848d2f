"""The layout of the SA-1B data set: a JSON file an image, `image` and `annotations`.

Its keys are the data set's; `bbox` and `crop_box` are COCO's, both sides in pixels, where SA-1B has
one less. Ids are those of `coco`. What is known of a mask besides (category, category_score,
parent_id) is added.
Source: https://github.com/facebookresearch/segment-anything, "Dataset".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.formats.boxes import coco_box, xywh, xyxy
from amg_cli.formats.coco import IDS_AN_IMAGE, annotation_id, rle_of
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.result import Result
from amg_cli.formats.text import begins

_START = '{"image": {"image_id": '


def write(result: Result, output: Output) -> None:
    """An image's file."""
    height, width = result.image_hw
    values = {
        "image": {
            "image_id": result.number,
            "width": width,
            "height": height,
            "file_name": result.file_name,
        },
        "annotations": [_annotation(result, number, mask) for number, mask in result.numbered],
    }
    output.path.write_text(json.dumps(values), encoding="ascii")


def _annotation(result: Result, number: int, mask: Mask) -> dict[str, Any]:
    annotation: dict[str, Any] = {
        "id": annotation_id(result.number, number),
        "segmentation": mask.rle,
        "bbox": coco_box(mask.box_xyxy),
        "area": mask.area_px,
        "predicted_iou": mask.pred_iou,
        "stability_score": mask.stability_score,
    }
    if mask.crop_box_xyxy is not None:
        annotation["crop_box"] = xywh(mask.crop_box_xyxy)
    if mask.point_xy is not None:
        annotation["point_coords"] = [list(mask.point_xy)]
    for name in ("category", "category_score"):
        if getattr(mask, name) is not None:
            annotation[name] = getattr(mask, name)
    if mask.parent is not None:
        annotation["parent_id"] = annotation_id(result.number, mask.parent)
    return annotation


def is_own(path: Path) -> bool:
    """Whether a file begins as an image's of ours."""
    return begins(path, _START)


def read(path: Path) -> list[Mask]:
    """The masks of a file, ours or the data set's, in order."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        size_hw = (values["image"]["height"], values["image"]["width"])
        return [_mask(annotation, size_hw) for annotation in values["annotations"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the masks of an image ({error!r})") from error


def _mask(annotation: Mapping[str, Any], size_hw: tuple[int, int]) -> Mask:
    crop, points = annotation.get("crop_box"), annotation.get("point_coords")
    parent = annotation.get("parent_id")
    x, y = points[0] if points else (0, 0)
    rle = rle_of(annotation["segmentation"], size_hw)
    rle_codec.check(rle)
    return Mask(
        rle=rle,
        box_xyxy=rle_codec.box(rle),  # the data set's own is a pixel less wide and high
        pred_iou=float(annotation["predicted_iou"]),
        stability_score=float(annotation["stability_score"]),
        point_xy=(float(x), float(y)) if points else None,
        crop_box_xyxy=None if crop is None else xyxy(crop),
        category=annotation.get("category"),
        category_score=annotation.get("category_score"),
        parent=None if parent is None else parent % IDS_AN_IMAGE,
        id=annotation["id"] % IDS_AN_IMAGE,
    )


FORMAT = ImageFormat(suffix=".json", write=write, folder="sa1b", is_own=is_own, read=read)
