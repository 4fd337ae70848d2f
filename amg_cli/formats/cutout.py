"""Each object cut out: a folder an image, with a PNG a mask, by its id.

RGBA: the photograph in the mask's box and `cutout_margin` pixels around, opaque where the mask is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.mask import Mask
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.pictures import save
from amg_cli.formats.result import Result


def write(result: Result, output: Output) -> None:
    """An image's folder. Raises ValueError without its pixels."""
    if result.image_rgb is None:
        raise ValueError("the photograph is needed")
    output.path.mkdir()
    for number, mask in result.numbered:
        cut = _cut(result.image_rgb, mask, output.options.cutout_margin)
        save(output.path / f"{number}.png", cut)


def _cut(image_rgb: NDArray[np.uint8], mask: Mask, margin: int) -> NDArray[np.uint8]:
    """(h, w, 4) BGRA. At the image's edge there is no margin."""
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = image_rgb.shape[:2]
    left, top = min(margin, x0), min(margin, y0)
    right, bottom = min(margin, width - 1 - x1), min(margin, height - 1 - y1)
    pixels = image_rgb[y0 - top : y1 + bottom + 1, x0 - left : x1 + right + 1]
    alpha = np.pad(mask.window().astype(np.uint8) * 255, ((top, bottom), (left, right)))
    return np.dstack([pixels[..., ::-1], alpha])


FORMAT = ImageFormat(
    suffix="", write=write, folder="cutout", needs_image=True, options=("cutout_margin",)
)
