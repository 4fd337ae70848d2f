"""A COCO data set of a whole run: `info`, `images`, `annotations` and `categories`.

Images are numbered from 1 in the order of the run's first listing, and an annotation's id is its
image's times 100,000 plus its place among the image's masks: ids depend on nothing else. `bbox` and
`area` are those of `segmentation`, as `pycocotools.mask.toBbox` and `area` give them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.core.version import __version__
from amg_cli.formats.format import Labels, RunFormat
from amg_cli.formats.ndjson import coco_box, inclusive_box
from amg_cli.formats.outlines import polygons_of
from amg_cli.formats.result import Result

IDS_AN_IMAGE = 100_000
_PIECE = 2**20
_START = '{"info": {"description": "Masks by amg"'


class _Writer:
    """Writes the images as they come, and keeps the annotations in a file of its own until then."""

    def __init__(self, path: Path, labels: Labels) -> None:
        self._labels = labels
        self._category_ids: dict[str, int] = {labels.category: 1}
        self._file = path.open("x", encoding="ascii", newline="\n")
        self._annotations = tempfile.TemporaryFile(  # noqa: SIM115 - until `close`
            "w+", encoding="ascii", dir=path.parent
        )
        self._file.write(f'{_START}, "version": {json.dumps(__version__)}}},\n"images": [')
        self._before_image = self._before_annotation = "\n"

    def add(self, result: Result) -> None:
        """An image and its annotations."""
        height, width = result.image_hw
        image = {
            "id": result.number,
            "file_name": result.file_name,
            "width": width,
            "height": height,
        }
        self._file.write(self._before_image + json.dumps(image))
        self._before_image = ",\n"
        for place, mask in enumerate(result.masks):
            annotation = self._annotation(result.number, place, mask)
            self._annotations.write(self._before_annotation + json.dumps(annotation))
            self._before_annotation = ",\n"

    def close(self) -> None:
        """The annotations and categories, and the end of the file."""
        with self._file, self._annotations:
            self._file.write('\n],\n"annotations": [')
            self._annotations.seek(0)
            while piece := self._annotations.read(_PIECE):
                self._file.write(piece)
            categories = [
                {"id": number, "name": name, "supercategory": ""}
                for name, number in self._category_ids.items()
            ]
            self._file.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')

    def _annotation(self, image_id: int, place: int, mask: Mask) -> dict[str, Any]:
        category = self._labels.category if mask.category is None else mask.category
        number = self._category_ids.setdefault(category, len(self._category_ids) + 1)
        return {
            "id": image_id * IDS_AN_IMAGE + place,
            "image_id": image_id,
            "category_id": number,
            "segmentation": polygons_of(mask) if self._labels.polygons else mask.rle,
            "bbox": coco_box(mask.box_xyxy),
            "area": mask.area_px,
            "iscrowd": 0,
            "score": mask.pred_iou if mask.category_score is None else mask.category_score,
            "predicted_iou": mask.pred_iou,
            "stability_score": mask.stability_score,
        }


def is_own(path: Path) -> bool:
    """Whether a file begins as a data set of ours."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_START)) == _START.encode("ascii")


def read(path: Path) -> Iterator[Result]:
    """The images of a data set of ours, in its order. Its text is held in memory meanwhile."""
    with path.open("rb") as file:
        values = json.load(file)
    try:
        names = {category["id"]: category["name"] for category in values["categories"]}
        masks: dict[int, list[Mask]] = {image["id"]: [] for image in values["images"]}
        for annotation in values["annotations"]:
            masks[annotation["image_id"]].append(_mask(annotation, names))
        results = [
            Result(
                number=image["id"],
                name=PurePosixPath(image["file_name"]).with_suffix("").as_posix(),
                file_name=image["file_name"],
                image_hw=(image["height"], image["width"]),
                masks=masks[image["id"]],
            )
            for image in values["images"]
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a COCO data set of masks ({error!r})") from error
    yield from results


def _mask(annotation: Mapping[str, Any], categories: Mapping[int, str]) -> Mask:
    segmentation = annotation["segmentation"]
    if not isinstance(segmentation, dict):
        raise ValueError("its masks are polygons, which are not read yet: write RLE")
    return Mask(
        rle=cast(Rle, segmentation),
        box_xyxy=inclusive_box(annotation["bbox"]),
        pred_iou=float(annotation["predicted_iou"]),
        stability_score=float(annotation["stability_score"]),
        category=categories[annotation["category_id"]],
        category_score=float(annotation["score"]),
        id=annotation["id"] % IDS_AN_IMAGE,
    )


FORMAT = RunFormat(file_name="annotations.json", is_own=is_own, open=_Writer, read=read)
