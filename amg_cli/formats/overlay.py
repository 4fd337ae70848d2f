"""The photograph with its masks in colours and their outlines: a JPEG an image, to look at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.formats.colours import colour_of
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.pictures import save
from amg_cli.formats.result import Result

OPACITY = 0.45
JPEG_QUALITY = 92
PX_A_LINE = 600  # an outline is a pixel wide, and one more for so many of the longer side


def write(result: Result, output: Output) -> None:
    """An image's file. Raises ValueError without its pixels."""
    if result.image_rgb is None:
        raise ValueError("the photograph is needed")
    drawn = overlay(result.image_rgb, result)
    save(output.path, drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def overlay(image_rgb: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """The masks over the image, the largest first, so that none hides a smaller one. (H, W, 3)."""
    drawn = image_rgb.copy()
    line_px = 1 + max(result.image_hw) // PX_A_LINE
    kernel = np.ones((2 * line_px + 1, 2 * line_px + 1), dtype=np.uint8)
    for number, mask in sorted(result.numbered, key=lambda item: -item[1].area_px):
        x0, y0, x1, y1 = mask.box_xyxy
        inside = mask.window().astype(np.uint8)
        colour = np.array(colour_of(number), dtype=np.uint8)
        # Outside the window there is no mask; at the image's edge there is no outline.
        core = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        window = drawn[y0 : y1 + 1, x0 : x1 + 1]
        paint = np.broadcast_to(colour, window.shape)
        mixed = cv2.addWeighted(window, 1 - OPACITY, paint, OPACITY, 0)
        window[core > 0] = mixed[core > 0]
        window[(inside > 0) & (core == 0)] = colour
    return drawn


FORMAT = ImageFormat(suffix=".jpg", write=write, folder="overlay", needs_image=True)
