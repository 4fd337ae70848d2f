"""Masks in colours over a picture: at its own size, or small. H W the masks' image, h w small."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.colours import colour_of
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.mask import Mask, check_masks, numbered

OPACITY = 0.45
PX_A_LINE = 600  # an outline is a pixel wide, and one more for so many of the longer side
SAMPLES_A_PX = 2  # along each side of a pixel of a small picture
HALF = 127  # of 255, however that is rounded


def draw(image_rgb: ImageLike, masks: Sequence[Mask]) -> NDArray[np.uint8]:
    """The photograph with its masks in colours and their outlines. -> (H, W, 3) uint8, RGB

    The largest mask comes first, so that none hides a smaller one. A mask's colour goes by its
    `id`, or, without one, by its place among `masks`: the same in every picture.

    image_rgb: (H, W, 3) uint8, as for `generate`; stays as it is
    Raises TypeError or ValueError for an image of another kind, or masks of another size than it.
    """
    pixels = as_rgb(image_rgb)
    height, width = pixels.shape[:2]
    check_masks(masks, (height, width))
    drawn = pixels.copy()
    line_px = _line_px(height, width)
    for number, mask in _largest_first(masks):
        x0, y0, x1, y1 = mask.box_xyxy
        _paint(drawn[y0 : y1 + 1, x0 : x1 + 1], mask.window(), colour_of(number), line_px, OPACITY)
    return drawn


def draw_within(
    image_rgb: ImageLike, masks: Sequence[Mask], side_px: int, line_px: int | None = None
) -> NDArray[np.uint8]:
    """As `draw`, of at most `side_px` along its longest side: a larger image is scaled down.

    line_px: width of outlines; None for as `draw` has them. Errors as of `draw`, and ValueError for
    a side of less than a pixel.
    """
    if side_px < 1:
        raise ValueError(f"side_px: 1 or more is wanted, not {side_px}")
    pixels = as_rgb(image_rgb)
    check_masks(masks, (pixels.shape[0], pixels.shape[1]))
    return draw_small(scaled(pixels, side_px), masks, line_px)


def scaled(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3), scaled down to have at most `side_px` along its longest side."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return pixels
    wide_high = scaled_hw((height, width), scale)[::-1]
    whole = np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(whole, wide_high, interpolation=cv2.INTER_AREA), np.uint8)


def scaled_hw(size_hw: Sequence[int], scale: float) -> tuple[int, int]:
    """The height and width that a size becomes, each at least a pixel."""
    height, width = (max(1, round(side * scale)) for side in size_hw)
    return height, width


def draw_small(
    picture_rgb: NDArray[np.uint8],
    masks: Sequence[Mask],
    line_px: int | None = None,
    opacity: float = OPACITY,
) -> NDArray[np.uint8]:
    """As `draw`, over a picture that may be smaller than the masks' image.

    picture_rgb: (h, w, 3) uint8, stays as it is; masks: of one size (H, W), h <= H and w <= W
    line_px: width of outlines; None for as `draw` has them in a picture of that size
    """
    line_px = _line_px(*picture_rgb.shape[:2]) if line_px is None else line_px
    drawn = picture_rgb.copy()
    height, width = drawn.shape[:2]
    for number, mask in _largest_first(masks):
        (x, y), inside = small_window(mask, (height, width))
        place = drawn[y : y + inside.shape[0], x : x + inside.shape[1]]
        _paint(place, inside, colour_of(number), line_px, opacity)
    return drawn


def small_window(
    mask: Mask, small_hw: tuple[int, int]
) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """A mask in its box, as it is where its image is scaled to a smaller size.

    -> x and y of the window in the small image, and the window, bool: where at least half is of the
    mask. Of a mask that is nowhere so much, where it is most, so that it does not vanish.
    """
    (x, y), share = small_cover(mask, small_hw)
    inside = share >= HALF
    if not inside.any() and mask.area_px:
        # Its samples may all have missed it.
        wide_high = share.shape[::-1]
        whole = cv2.resize(
            mask.window().astype(np.float32), wide_high, interpolation=cv2.INTER_AREA
        )
        inside = whole == whole.max()
    return (x, y), inside


def small_cover(mask: Mask, small_hw: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """As `small_window`, but how much of each pixel is of the mask, 0 to 255, by a few samples."""
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = mask.rle["size"]
    x, columns = _samples(x0, x1, width, small_hw[1])
    y, rows = _samples(y0, y1, height, small_hw[0])
    inside = rle_codec.sampled(mask.rle, rows.ravel(), columns.ravel())
    wide_high = len(columns), len(rows)
    grey = inside.view(np.uint8) * np.uint8(255)
    return (x, y), np.asarray(cv2.resize(grey, wide_high, interpolation=cv2.INTER_AREA), np.uint8)


def _line_px(height: int, width: int) -> int:
    return 1 + max(height, width) // PX_A_LINE


def _largest_first(masks: Sequence[Mask]) -> list[tuple[int, Mask]]:
    return sorted(numbered(masks), key=lambda item: -item[1].area_px)


def _samples(first: int, last: int, side: int, small_side: int) -> tuple[int, NDArray[np.int64]]:
    """What is looked at, along one side, of the small pixels that reach into first to last.

    -> the first small pixel, and for each one where to look in the large image, (n, samples)
    """
    count = max(1, min(SAMPLES_A_PX, side // small_side))
    start, end = first * small_side // side, ((last + 1) * small_side - 1) // side
    places = np.arange(start * count, (end + 1) * count)
    return start, ((2 * places + 1) * side // (2 * small_side * count)).reshape(-1, count)


def _paint(
    window: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    colour: tuple[int, int, int],
    line_px: int,
    opacity: float,
) -> None:
    """Colour a part of a picture where `inside` is set, its rim whole. Both (h, w, …)."""
    kernel = np.ones((2 * line_px + 1, 2 * line_px + 1), dtype=np.uint8)
    where = inside.view(np.uint8)
    # Outside the window there is no mask; at the image's edge there is no outline.
    core = cv2.erode(where, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    painted = np.empty(window.shape, np.uint8)
    painted[:] = colour
    cv2.copyTo(cv2.LUT(window, _mixed(colour, opacity)), core, painted)
    cv2.copyTo(painted, where, window)


@lru_cache(maxsize=1024)
def _mixed(colour: tuple[int, int, int], opacity: float) -> NDArray[np.uint8]:
    """What becomes of each value under a colour. (256, 1, 3), as `cv2.LUT` takes it."""
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 3)
    paint = np.tile(np.array(colour, np.uint8), (256, 1, 1))
    return np.asarray(cv2.addWeighted(values, 1 - opacity, paint, opacity, 0), np.uint8)
