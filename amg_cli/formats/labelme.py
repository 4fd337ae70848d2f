"""LabelMe's own files: a JSON file an image, with a shape of the kind "mask" an object.

With `polygons`, a shape of the kind "polygon" a part, whose parts share a `group_id`; holes are
filled then, as LabelMe's polygons have none. `imagePath` leads from the file to the photograph; in
the cloud it is the photograph's whole path.
Source: `LabelFile` of https://github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amg_cli.core.mask import Mask
from amg_cli.formats.format import FormatOptions, ImageFormat, Output
from amg_cli.formats.outlines import parts_of
from amg_cli.formats.result import Result

VERSION = "5.5.0"  # of LabelMe, whose files these are like


def write(result: Result, output: Output) -> None:
    """An image's file."""
    height, width = result.image_hw
    image = result.source or result.file_name
    if result.source and output.stays:
        image = _way_to(result.source, output.target)
    values: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": list(_shapes(result, output.options)),
        "imagePath": image,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    output.path.write_text(json.dumps(values), encoding="ascii")


def _way_to(source: str, target: Path) -> str:
    """From a file that will lie at `target` to another; whole where there is none."""
    if "://" in source:  # an address
        return source
    try:
        return os.path.relpath(source, os.path.realpath(target.parent))
    except ValueError:  # on another drive
        return source


def moved(path: Path, before: Path, after: Path) -> None:
    """Let a file that was made to lie at `before` lead to its photograph from `after`."""
    values = json.loads(path.read_text(encoding="ascii"))
    if "://" in values["imagePath"]:
        return
    image = os.path.join(os.path.realpath(before.parent), values["imagePath"])  # noqa: PTH118
    values["imagePath"] = _way_to(os.path.realpath(image), after)
    path.write_text(json.dumps(values), encoding="ascii")


def _shapes(result: Result, options: FormatOptions) -> Iterator[dict[str, Any]]:
    for number, mask in result.numbered:
        shape = {
            "label": options.category_of(mask),
            "group_id": number,
            "description": _description(mask),
            "flags": {},
        }
        if not options.polygons:
            yield shape | {"shape_type": "mask", **_pixels(mask)}
            continue
        for part in parts_of(mask, options.polygon_tolerance):
            points = part.outer.astype(float).tolist()
            yield shape | {"shape_type": "polygon", "points": points, "mask": None}


def _pixels(mask: Mask) -> dict[str, Any]:
    """The mask in its box, as PNG, and the box's first and last pixel."""
    x0, y0, x1, y1 = mask.box_xyxy
    _, png = cv2.imencode(".png", mask.window().astype(np.uint8) * 255)
    return {
        "points": [[float(x0), float(y0)], [float(x1), float(y1)]],
        "mask": base64.b64encode(png.tobytes()).decode("ascii"),
    }


def _description(mask: Mask) -> str:
    """What is known besides, for which LabelMe has no place of its own."""
    known = {
        "predicted_iou": round(mask.pred_iou, 4),
        "stability_score": round(mask.stability_score, 4),
        "category_score": mask.category_score,
        "parent": mask.parent,
    }
    return ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)


FORMAT = ImageFormat(
    suffix=".json",
    write=write,
    folder="labelme",
    options=("category", "polygons", "polygon_tolerance"),
    moved=moved,
)
