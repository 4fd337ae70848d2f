"""Small pictures of photographs with their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.drawing import draw_within
from amg_cli.core.image import ImageLike
from amg_cli.core.mask import Mask


def thumbnail(image_rgb: ImageLike, masks: Sequence[Mask], side_px: int) -> NDArray[np.uint8]:
    """As `draw`, but small: the longest side is `side_px`, or the image's, if that is less.

    image_rgb: (H, W, 3) uint8 -> (h, w, 3) uint8, RGB. Outlines are a pixel wide.
    Raises TypeError or ValueError as `draw`, and for a side of less than a pixel.
    """
    return draw_within(image_rgb, masks, side_px, line_px=1)
