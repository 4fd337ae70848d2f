"""Draw two tasks: `python tasks.py CHECKPOINT BOXES_PICTURE EDGES_PICTURE`.

The first shows boxes as a detector gives them, and the instance in each; the second a photograph,
its edges, and their ridges.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import amg_cli

IMAGES = Path(__file__).parent / "images"
BOXES_XYXY = {
    "cup": (170, 15, 425, 312),
    "saucer": (75, 75, 482, 394),
    "spoon": (316, 225, 412, 332),
}
COLOURS_BGR = [(230, 120, 40), (90, 200, 40), (60, 90, 235)]
OPACITY = 0.5
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


def main(checkpoint: Path, boxes_picture: Path, edges_picture: Path) -> None:
    """Do both, and write the pictures."""
    model = amg_cli.load_model(checkpoint)
    coffee, cat = (read(name) for name in ("coffee.jpg", "chelsea.jpg"))
    instances = amg_cli.segment_boxes(coffee[..., ::-1], model, list(BOXES_XYXY.values()))
    with_masks = coffee.copy()
    # The larger first, so that what lies on it is seen.
    for instance, colour in sorted(
        zip(instances, COLOURS_BGR, strict=True), key=lambda pair: -area(pair[0])
    ):
        if instance.mask is not None:
            inside = instance.mask.array()
            with_masks[inside] = (1 - OPACITY) * coffee[inside] + OPACITY * np.array(colour)
    pictures = [with_boxes(picture) for picture in (coffee, with_masks)]
    cv2.imwrite(str(boxes_picture), np.hstack(pictures), JPEG)

    found = [amg_cli.edges(cat[..., ::-1], model, thin=thin) for thin in (False, True)]
    grey = [
        cv2.cvtColor(np.rint(255 * edges).astype(np.uint8), cv2.COLOR_GRAY2BGR) for edges in found
    ]
    cv2.imwrite(str(edges_picture), np.hstack([cat, *grey]), JPEG)


def read(name: str) -> NDArray[np.uint8]:
    """A photograph, (H, W, 3) BGR."""
    return np.asarray(cv2.imread(str(IMAGES / name)), np.uint8)


def area(instance: amg_cli.Instance) -> int:
    """Of its mask, in pixels."""
    return 0 if instance.mask is None else instance.mask.area_px


def with_boxes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with the boxes, each named."""
    drawn = picture.copy()
    for (name, (x0, y0, x1, y1)), colour in zip(BOXES_XYXY.items(), COLOURS_BGR, strict=True):
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 2)
        cv2.putText(drawn, name, (x0 + 6, y0 + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2)
    return drawn


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
