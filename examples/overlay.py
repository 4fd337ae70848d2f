"""Draw the masks of an image over it: `python overlay.py IMAGE MASKS PICTURE`.

MASKS is what `amg` wrote for the image: a folder of PNGs, or a JSON file. PICTURE shows the image
beside the image with its masks, each in a colour of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import amg_cli
from amg_cli.formats import reference_png, reference_rle


def main(image_path: Path, masks_path: Path, picture_path: Path) -> None:
    """Read an image and its masks, and write the picture."""
    output_format = (reference_png if masks_path.is_dir() else reference_rle).FORMAT
    image_rgb = np.asarray(cv2.imread(str(image_path)), np.uint8)[..., ::-1]
    drawn = amg_cli.draw(image_rgb, output_format.read(masks_path))
    cv2.imwrite(str(picture_path), np.hstack([image_rgb, drawn])[..., ::-1])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
