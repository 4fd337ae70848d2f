"""A COCO data set of a whole run: `info`, `images`, `annotations` and `categories`.

Images are numbered from 1 in the order of the run's first listing, and an annotation's id is its
image's times 100,000 plus its place among the image's masks: ids depend on nothing else. `bbox` and
`area` are those of `segmentation`, as `pycocotools.mask.toBbox` and `area` give them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.core.version import __version__
from amg_cli.formats.aside import Aside
from amg_cli.formats.categories import Categories
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.ndjson import coco_box
from amg_cli.formats.outlines import polygons_of
from amg_cli.formats.result import Result

IDS_AN_IMAGE = 100_000
_START = '{"info": {"description": "Masks by amg"'


class _Writer:
    """Writes the images as they come, and keeps the annotations aside until then."""

    def __init__(self, output: Output) -> None:
        self._options = output.options
        self._categories = Categories(output.options)
        self._file = output.path.open("x", encoding="ascii", newline="\n")
        self._annotations = Aside(output.path.parent, "ascii")
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
        for number, mask in result.numbered:
            annotation = self._annotation(result.number, number, mask)
            self._annotations.write(self._before_annotation + json.dumps(annotation))
            self._before_annotation = ",\n"

    def close(self) -> None:
        """The annotations and categories, and the end of the file."""
        with self._file, self._annotations:
            self._file.write('\n],\n"annotations": [')
            self._annotations.copy_to(self._file)
            categories = [
                {"id": number, "name": name, "supercategory": ""}
                for number, name in enumerate(self._categories.names, 1)
            ]
            self._file.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')

    def _annotation(self, image_id: int, number: int, mask: Mask) -> dict[str, Any]:
        outlined, tolerance = self._options.polygons, self._options.polygon_tolerance
        annotation = {
            "id": annotation_id(image_id, number),
            "image_id": image_id,
            "category_id": self._categories.number_of(mask) + 1,
            "segmentation": polygons_of(mask, tolerance) if outlined else mask.rle,
            "bbox": coco_box(mask.box_xyxy),
            "area": mask.area_px,
            "iscrowd": 0,
            "score": mask.score,
            "predicted_iou": mask.pred_iou,
            "stability_score": mask.stability_score,
        }
        if mask.parent is not None:
            annotation["parent_id"] = annotation_id(image_id, mask.parent)
        return annotation


def annotation_id(image_id: int, number: int) -> int:
    """Of a mask by its number in its image."""
    return image_id * IDS_AN_IMAGE + number


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
        sizes = {image["id"]: (image["height"], image["width"]) for image in values["images"]}
        for annotation in values["annotations"]:
            image_id = annotation["image_id"]
            masks[image_id].append(_mask(annotation, names, sizes[image_id]))
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


def _mask(
    annotation: Mapping[str, Any], categories: Mapping[int, str], size_hw: tuple[int, int]
) -> Mask:
    """Of an annotation, ours or another program's, which may have outlines, and no scores."""
    parent = annotation.get("parent_id")
    score = float(annotation.get("score", 1.0))
    rle = rle_of(annotation["segmentation"], size_hw)
    return Mask(
        rle=rle,
        box_xyxy=rle_codec.box(rle),
        pred_iou=float(annotation.get("predicted_iou", score)),
        stability_score=float(annotation.get("stability_score", 1.0)),
        category=categories[annotation["category_id"]],
        category_score=score,
        parent=None if parent is None else parent % IDS_AN_IMAGE,
        id=annotation["id"] % IDS_AN_IMAGE,
    )


def rle_of(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """A mask as COCO files have it: compressed or not, or polygons, which are filled."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return cast(Rle, segmentation)
    return rle_codec.from_coco(segmentation, size_hw)


FORMAT = RunFormat(
    file_name="annotations.json",
    open=_Writer,
    options=("category", "polygons", "polygon_tolerance"),
    is_own=is_own,
    read=read,
)
