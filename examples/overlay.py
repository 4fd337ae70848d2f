"""Draw the masks of an image over it: `python overlay.py IMAGE MASKS PICTURE`.

MASKS is what `amg` wrote for the image: a folder of PNGs, or a JSON file. PICTURE shows the image
beside the image with its masks, each in a colour of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.mask import Mask
from amg_cli.formats import reference_png, reference_rle

GOLDEN_ANGLE = 0.381966 * 180  # on OpenCV's circle of 180 hues: neighbours in order differ most
FIRST_HUE = 110
OPACITY = 0.55


def main(image_path: Path, masks_path: Path, picture_path: Path) -> None:
    """Read an image and its masks, and write the picture."""
    output_format = (reference_png if masks_path.is_dir() else reference_rle).FORMAT
    image_bgr = np.asarray(cv2.imread(str(image_path)), np.uint8)
    picture = np.hstack([image_bgr, overlay(image_bgr, output_format.read(masks_path))])
    cv2.imwrite(str(picture_path), picture)


def overlay(image_bgr: NDArray[np.uint8], masks: list[Mask]) -> NDArray[np.uint8]:
    """The image with coloured masks, large ones below small ones. (H, W, 3) -> (H, W, 3)."""
    picture = image_bgr.copy()
    for i, mask in enumerate(sorted(masks, key=lambda mask: -mask.area_px)):
        hue = np.array([[[(FIRST_HUE + i * GOLDEN_ANGLE) % 180, 200, 255]]], np.uint8)
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0]
        inside = mask.array()
        picture[inside] = (1 - OPACITY) * image_bgr[inside] + OPACITY * colour
        outline, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, outline, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
