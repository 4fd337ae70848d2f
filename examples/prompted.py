"""Draw what a model answers to prompts: `python prompted.py CHECKPOINT PICTURE`.

PICTURE shows coffee.jpg twice: with the mask of a click, and with the masks of three boxes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import amg_cli

IMAGE = Path(__file__).parent / "images/coffee.jpg"
CLICK_XY = (300, 160)
BOXES_XYXY = [(75, 75, 482, 394), (170, 15, 425, 312), (322, 232, 410, 330)]
COLOURS_BGR = [(90, 200, 40), (230, 120, 40), (60, 90, 235)]
OPACITY = 0.5


def main(checkpoint: Path, picture_path: Path) -> None:
    """Prompt by a click and by boxes, and write the picture."""
    image_bgr = np.asarray(cv2.imread(str(IMAGE)), np.uint8)
    model = amg_cli.load_model(checkpoint)
    encoded = amg_cli.encode_image(model, image_bgr[..., ::-1])
    by_click = amg_cli.predict(model, encoded, amg_cli.Prompts([[CLICK_XY]]))
    best = by_click.masks[0, by_click.scores[0].argmax()]
    clicked = drawn(image_bgr, best[None])
    cv2.circle(clicked, CLICK_XY, 7, (255, 255, 255), -1)
    cv2.circle(clicked, CLICK_XY, 5, COLOURS_BGR[0], -1)
    prompts = amg_cli.Prompts(boxes_xyxy=BOXES_XYXY)
    by_box = amg_cli.predict(model, encoded, prompts, multimask=False)
    boxed = drawn(image_bgr, by_box.masks[:, 0])
    for (x0, y0, x1, y1), colour in zip(BOXES_XYXY, COLOURS_BGR, strict=True):
        cv2.rectangle(boxed, (x0, y0), (x1, y1), colour, 2)
    cv2.imwrite(str(picture_path), np.hstack([clicked, boxed]), [cv2.IMWRITE_JPEG_QUALITY, 88])


def drawn(image_bgr: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with masks (N, H, W), each in a colour of its own."""
    picture = image_bgr.copy()
    for mask, colour in zip(masks, COLOURS_BGR, strict=False):
        picture[mask] = (1 - OPACITY) * picture[mask] + OPACITY * np.array(colour)
    return picture


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
