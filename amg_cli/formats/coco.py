"""A COCO data set of a whole run: `info`, `images`, `annotations` and `categories`.

Images are numbered from 1 in the order of the run's first listing, and an annotation's id is its
image's times 100,000 plus its place among the image's masks: ids depend on nothing else. `bbox` and
`area` are the mask's, as `pycocotools.mask.toBbox` and `area` give them of its RLE.
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
from amg_cli.formats.boxes import coco_box
from amg_cli.formats.categories import Categories
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.outlines import polygons_of
from amg_cli.formats.result import Result
from amg_cli.formats.text import begins

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
        self._categories.add(result.categories)
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
            "segmentation": (polygons_of(mask, tolerance) if outlined else None) or mask.rle,
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
    return begins(path, _START)


def read(path: Path) -> Iterator[Result]:
    """The images of a data set, in its order. Its text is held in memory meanwhile.

    Of another program's, images are numbered anew, and annotations without a mask, and crowds,
    which are no objects, are passed over.
    """
    own = is_own(path)
    with path.open("rb") as file:
        values = json.load(file)
    try:
        names = {each["id"]: str(each["name"]) for each in values.get("categories", [])}
        images = {image["id"]: image for image in values["images"]}
        annotations: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in images}
        for annotation in values["annotations"]:
            if annotation.get("segmentation") and not annotation.get("iscrowd"):
                annotations[annotation["image_id"]].append(annotation)
        if len(images) < len(values["images"]):
            raise ValueError(f"{path}: two images of one id")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a COCO data set of masks ({error!r})") from error
    categories = tuple(names.values())
    for place, (key, image) in enumerate(images.items(), 1):
        try:
            size_hw = (int(image["height"]), int(image["width"]))
            file_name = str(image["file_name"])
            yield Result(
                number=key if own else place,
                name=PurePosixPath(file_name or "image").with_suffix("").as_posix(),
                file_name=file_name,
                image_hw=size_hw,
                masks=[_mask(each, names, size_hw, own) for each in annotations[key]],
                categories=categories,
                data_set_id=None if own else key,
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: image {key}: not COCO's masks ({error!r})") from error


def _mask(
    annotation: Mapping[str, Any],
    categories: Mapping[Any, str],
    size_hw: tuple[int, int],
    own: bool,
) -> Mask:
    """Of an annotation, ours or another program's, which may have outlines, and no scores."""
    parent = annotation.get("parent_id") if own else None
    score = annotation.get("score")
    score = 1.0 if score is None else float(score)
    rle = rle_of(annotation["segmentation"], size_hw)
    rle_codec.check(rle)
    category = annotation.get("category_id")
    return Mask(
        rle=rle,
        box_xyxy=rle_codec.box(rle),
        pred_iou=float(annotation.get("predicted_iou", score)),
        stability_score=float(annotation.get("stability_score", 1.0)),
        category=str(categories.get(category, category)) if category is not None else None,
        category_score=score,
        category_id=category if isinstance(category, int) and not own else None,
        parent=None if parent is None else parent % IDS_AN_IMAGE,
        id=annotation["id"] % IDS_AN_IMAGE if own else None,
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
