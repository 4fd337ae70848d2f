"""One label image: each pixel has the number of the object it is of. A folder an image.

    labels.png   16 bits: 0 where there is no object, else the `label` of a line of labels.csv
    labels.tiff  instead of it where labels go past 65,535: 32 bits
    labels.csv   label, id, area, visible_area, category, category_score, parent, predicted_iou,
                 stability_score: a line a mask, those that are hidden too
    colours.png  the same as colours

Masks overlap and labels cannot: of the masks over a pixel the smallest has it, and of equal ones
the one with the lower number, so that parts lie on their wholes. A label is the mask's id plus 1.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.colours import colour_of
from amg_cli.formats.format import FormatOptions, ImageFormat, Output
from amg_cli.formats.pictures import save
from amg_cli.formats.result import Result
from amg_cli.formats.text import whole_text

MAX_16_BITS = 65_535
COLUMNS = (
    "label",
    "id",
    "area",
    "visible_area",
    "category",
    "category_score",
    "parent",
    "predicted_iou",
    "stability_score",
)


def write(result: Result, output: Output) -> None:
    """An image's folder."""
    folder = output.path
    folder.mkdir()
    labels = flattened(result)
    numbers = [number for number, _ in result.numbered]
    if max(numbers, default=0) < MAX_16_BITS:
        save(folder / "labels.png", labels.astype(np.uint16))
    else:
        save(folder / "labels.tiff", labels)
    save(folder / "colours.png", _coloured(labels, numbers))
    _write_table(folder / "labels.csv", result, labels, output.options)


def flattened(result: Result) -> NDArray[np.int32]:
    """(H, W): for each pixel the label of the smallest mask over it; 0 where there is none."""
    masks = sorted(result.numbered, key=lambda item: item[0])
    owners = rle_codec.smallest_over([mask.rle for _, mask in masks], result.image_hw)
    # The last is what an owner of -1 takes.
    labels = np.array([*(number + 1 for number, _ in masks), 0], dtype=np.int32)
    return labels[owners]


def _coloured(labels: NDArray[np.int32], numbers: list[int]) -> NDArray[np.uint8]:
    """(H, W) -> (H, W, 3) BGR."""
    colours = np.zeros((max(numbers, default=-1) + 2, 3), dtype=np.uint8)
    for number in numbers:
        colours[number + 1] = colour_of(number)[::-1]
    return colours[labels]


def _write_table(
    path: Path, result: Result, labels: NDArray[np.int32], options: FormatOptions
) -> None:
    visible = np.bincount(labels.ravel())
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        for number, mask in result.numbered:
            label = number + 1
            lines.writerow(
                [
                    label,
                    number,
                    mask.area_px,
                    int(visible[label]) if label < len(visible) else 0,
                    whole_text(options.category_of(mask)),
                    mask.category_score,
                    mask.parent,
                    mask.pred_iou,
                    mask.stability_score,
                ]
            )


FORMAT = ImageFormat(suffix="", write=write, folder="labelmap", options=("category",))
