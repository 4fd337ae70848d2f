"""What is done with masks that stay: their shape, their size, their overlaps. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.config import GenerationConfig
from amg_cli.core.mask import Mask
from amg_cli.generation.overlaps import disjoint, filled, with_parents, without_contained


def tidied(
    masks: Sequence[Mask], config: GenerationConfig, image_hw: tuple[int, int]
) -> list[Mask]:
    """The masks of an image as the settings beyond the reference's want them, best first.

    Shapes come first, then sizes, then what is inside another, the number, the overlaps.
    """
    found = list(masks)
    if config.largest_component or config.smooth:
        found = [shape for mask in found if (shape := shaped(mask, config))]
        found = [mask for mask in found if _fits(mask, config)]
    if config.containment_thresh < 1:
        found = without_contained(found, config.containment_thresh)
    if config.max_masks:
        found = best(found, config.max_masks)
    if config.disjoint != "off":
        found = disjoint(found, config.disjoint)
        found = filled(found, image_hw) if config.fill else found
    return with_parents(found) if config.parents else found


def best(masks: Sequence[Mask], count: int) -> list[Mask]:
    """Those of the highest predicted IoU, of equal ones the earlier, in the order they have."""
    ranked = sorted(range(len(masks)), key=lambda i: -masks[i].pred_iou)
    return [masks[i] for i in sorted(ranked[:count])]


def shaped(mask: Mask, config: GenerationConfig) -> Mask | None:
    """Smoothed, and without all but its largest part; None where nothing is left."""
    window = mask.window()
    if config.smooth:
        window = _smoothed(window, mask, config.smooth)
    if config.largest_component:
        window = _largest_part(window)
    if not window.any():
        return None
    height, width = mask.rle["size"]
    x0, y0, _, _ = mask.box_xyxy
    places = rle_codec.changes([window], (y0, x0), (height, width))
    rle = rle_codec.from_changes(places, (height, width))
    return replace(mask, rle=rle, box_xyxy=rle_codec.box(rle))


def _smoothed(window: NDArray[np.bool_], mask: Mask, radius: int) -> NDArray[np.bool_]:
    """Opened, then closed, by a disc: points that it does not fit into go, and gaps likewise.

    At an edge of the image a mask goes on beyond it.
    """
    height, width = mask.rle["size"]
    x0, y0, x1, y1 = mask.box_xyxy
    at_edge = ((y0 == 0, y1 == height - 1), (x0 == 0, x1 == width - 1))
    margin = 2 * radius
    pixels: NDArray[Any] = window.astype(np.uint8)
    for axis, sides in enumerate(at_edge):
        for side, goes_on in enumerate(sides):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (0, margin) if side else (margin, 0)
            pixels = np.pad(pixels, pad, mode="edge" if goes_on else "constant")
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    for step in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        pixels = cv2.morphologyEx(pixels, step, disc)
    return pixels[margin : margin + len(window), margin : margin + window.shape[1]] > 0


def _largest_part(window: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of parts that hang together, by corners too; of equal ones the first from above."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(window.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return labels == areas.argmax() + 1 if len(areas) else window


def _fits(mask: Mask, config: GenerationConfig) -> bool:
    height, width = mask.rle["size"]
    low, high = config.area_bounds((height, width))
    return low <= mask.area_px <= high
