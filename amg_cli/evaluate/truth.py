"""True segments of images, from a COCO file: RLE or polygons, crowds, things and stuff."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from amg_cli.core.errors import InputError
from amg_cli.core.rle import Rle, check

FIELDS = "images with id, file_name, height, width; annotations with image_id, segmentation"
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError)  # what JSON can be
MAX_COORDINATE_PX = 1e6


@dataclass(frozen=True)
class Segment:
    """One true segment.

    area_px:  as the file states it, by which a segment is small, medium or large
    is_crowd: a region of many objects, where masks are neither right nor wrong
    is_thing: an object that can be counted, not stuff such as sky; None where the file is silent
    """

    rle: Rle
    area_px: float
    is_crowd: bool = False
    is_thing: bool | None = None


@dataclass(frozen=True)
class TrueImage:
    """An image and its true segments. image_id: what a COCO results file calls it by."""

    image_id: int
    file_name: str
    size_hw: tuple[int, int]
    segments: tuple[Segment, ...]

    def of_kind(self, is_thing: bool) -> TrueImage:
        """The same image with its things alone, or its stuff."""
        kept = tuple(segment for segment in self.segments if segment.is_thing == is_thing)
        return TrueImage(self.image_id, self.file_name, self.size_hw, kept)


def read_coco(path: Path) -> list[TrueImage]:
    """The images of a COCO file of instances, in its order.

    Raises InputError for a file that is not there, or is of another kind.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        things = {
            category["id"]: bool(category["isthing"])
            for category in data.get("categories", ())
            if "isthing" in category
        }
        sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
        segments: dict[int, list[Segment]] = {image_id: [] for image_id in sizes}
        for annotation in data["annotations"]:
            image_id = annotation["image_id"]
            segments[image_id].append(_segment(annotation, sizes[image_id], things))
        return [
            TrueImage(i["id"], i["file_name"], sizes[i["id"]], tuple(segments[i["id"]]))
            for i in data["images"]
        ]
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "check `truth`") from error
    except (*MALFORMED, RecursionError) as error:
        cause = f"not COCO instances ({type(error).__name__}: {error})"
        raise InputError(path, cause, f"it must hold {FIELDS}") from error


def to_rle(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """A COCO `segmentation` of any kind: polygons, uncompressed RLE, or RLE.

    Raises ValueError where it is of another size, and one of `MALFORMED` where it is no mask.
    """
    height, width = size_hw
    rle = segmentation
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"a segment of size {rle['size']} in an image of {[height, width]}")
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    compressed: Rle = {"size": [height, width], "counts": text}
    check(compressed)
    return compressed


def _check_polygons(polygons: list[Any]) -> None:
    """Refuse what pycocotools hangs on, and the four numbers that it takes for a box."""
    for polygon in polygons:
        corners = np.asarray(polygon, float)
        if corners.ndim != 1 or corners.size < 6 or corners.size % 2:
            raise ValueError(f"a polygon needs x, y of three points or more, not {polygon!r:.40}")
        if not (np.abs(corners) < MAX_COORDINATE_PX).all():
            raise ValueError(f"a polygon reaches out to {np.abs(corners).max()} pixels")
    if not polygons:
        raise ValueError("a segmentation without polygons")


def _segment(
    annotation: Mapping[str, Any], size_hw: tuple[int, int], things: Mapping[int, bool]
) -> Segment:
    rle = to_rle(annotation["segmentation"], size_hw)
    is_thing = annotation.get("isthing", things.get(annotation.get("category_id", -1)))
    return Segment(
        rle=rle,
        area_px=float(annotation.get("area", coco_mask.area(rle))),
        is_crowd=bool(annotation.get("iscrowd", 0)),
        is_thing=None if is_thing is None else bool(is_thing),
    )
