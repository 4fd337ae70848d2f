"""What a notebook shows of masks: small pictures, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.drawing import draw_small, scaled_hw, small_cover
from amg_cli.core.mask import Mask

MASK_PX, MASKS_PX = 480, 640  # the longest sides
LEAST_PX = 96  # of a mask, which is enlarged where it is of fewer
MARGIN_PX = 12
GROUND = 24  # grey, nearly black
OPACITY = 0.75  # over that ground, on which there is nothing to see
CELL_PX, GAP_PX = 160, 6  # of predictions
PROMPTS_SHOWN = 4  # of several masks each; of one mask each, as many as fit a row
FRAME = 96


def png_of_mask(mask: Mask) -> bytes:
    """The mask in its box, white on black, with a margin; small ones enlarged, large ones not."""
    x0, y0, x1, y1 = mask.box_xyxy
    longest = max(x1 - x0, y1 - y0) + 1
    # The window may begin and end inside a pixel of the small image, so it can have one more.
    most = MASK_PX - 2 * MARGIN_PX - 2
    _, white = small_cover(mask, scaled_hw(mask.rle["size"], min(1.0, most / longest)))
    times = max(1, LEAST_PX // max(white.shape))
    white = white.repeat(times, axis=0).repeat(times, axis=1)
    return _png(np.pad(white, MARGIN_PX))


def png_of_masks(masks: Sequence[Mask]) -> bytes | None:
    """All masks of an image in their colours, without the image; None where there are none.

    Nor is there a picture of masks of several sizes.
    """
    sizes = {tuple(mask.rle["size"]) for mask in masks}
    if len(sizes) != 1:
        return None
    (size_hw,) = sizes
    height, width = scaled_hw(size_hw, min(1.0, MASKS_PX / max(size_hw)))
    ground = np.full((height, width, 3), GROUND, np.uint8)
    return _png(draw_small(ground, masks, 1, OPACITY)[..., ::-1])


def png_of_predictions(masks: NDArray[Any]) -> bytes | None:
    """The masks of the first prompts, (N, K, H, W) bool or logits; None where there are none.

    White on black, each in a frame: a row a prompt, or, of one mask each, all in a row.
    """
    count, of_each = masks.shape[:2]
    if not count or not of_each:
        return None
    shown = masks[:PROMPTS_SHOWN] if of_each > 1 else masks[None, :PROMPTS_SHOWN, 0]
    rows = [np.hstack([_cell(mask) for mask in row]) for row in shown]
    return _png(np.pad(np.vstack(rows), (GAP_PX, 0), constant_values=GROUND))


def _cell(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """One mask (H, W) in its frame, with the gap to the next at its right and below. Grey."""
    inside = mask if mask.dtype == np.bool_ else mask > 0
    height, width = scaled_hw(mask.shape, min(1.0, CELL_PX / max(mask.shape)))
    white = np.ascontiguousarray(inside).view(np.uint8) * np.uint8(255)
    small = cv2.resize(white, (width, height), interpolation=cv2.INTER_AREA)
    framed = np.pad(small, 1, constant_values=FRAME)
    return np.pad(framed, (0, GAP_PX), constant_values=GROUND)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture, grey or BGR, as a file's bytes."""
    good, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    assert good, "PNG has pictures of all sizes"
    return encoded.tobytes()
