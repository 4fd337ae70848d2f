"""`Mask`: one result, and how it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import briefly
from amg_cli.core.rle import Rle


@dataclass(frozen=True)
class Mask:
    """One mask of an image. What is not known of it is None.

    rle:             its pixels
    box_xyxy:        the box of its pixels, in pixels of the image, right and bottom inclusive
    pred_iou:        the model's own estimate of the mask's IoU; can exceed 1
    stability_score: in [0, 1]
    point_xy:        the prompt, in pixels of the image
    crop_box_xyxy:   the crop the mask was found in; right and bottom *exclusive*
    category, category_score: what it is of, and how sure that is, in [0, 1]
    category_id:     the category's number in the data set that it is from
    parent, id:      its number among the image's masks, and that of the mask it is a part of
    """

    rle: Rle
    box_xyxy: tuple[int, int, int, int]
    pred_iou: float
    stability_score: float
    point_xy: tuple[float, float] | None = None
    crop_box_xyxy: tuple[int, int, int, int] | None = None
    category: str | None = None
    category_score: float | None = None
    category_id: int | None = None
    parent: int | None = None
    id: int | None = None

    @property
    def area_px(self) -> int:
        """Number of pixels in the mask."""
        return rle_codec.area(self.rle)

    @property
    def score(self) -> float:
        """How sure it is: the category's score, or, without one, the model's estimate."""
        return self.pred_iou if self.category_score is None else self.category_score

    def array(self) -> NDArray[np.bool_]:
        """The mask as (H, W) bool, at the size of the original image."""
        return rle_codec.decode(self.rle)

    def window(self) -> NDArray[np.bool_]:
        """The mask inside its box: (h, w) bool."""
        return rle_codec.decode_window(self.rle, self.box_xyxy)

    def _repr_png_(self) -> bytes:
        """What a notebook shows: its window, white on black, at most 480 pixels wide or high."""
        from amg_cli.core.notebook import png_of_mask

        return png_of_mask(self)


def numbered(masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
    """An image's masks, each with its number: its own, or, without one, its place."""
    for place, mask in enumerate(masks):
        yield (place if mask.id is None else mask.id), mask


def check_masks(masks: Sequence[Mask], image_hw: tuple[int, int]) -> None:
    """Raises TypeError for what are no masks, ValueError for one of another size than the image."""
    if isinstance(masks, Mask):
        raise TypeError("masks: a list of Mask is wanted, not one of them; [mask] makes it so")
    if not isinstance(masks, Sequence):
        raise TypeError(f"masks: a list of Mask is wanted, not {briefly(masks)}")
    for i, mask in enumerate(masks):
        if not isinstance(mask, Mask):
            raise TypeError(f"masks: Mask is wanted; number {i} is {briefly(mask)}")
        height, width = mask.rle["size"]
        if (height, width) != image_hw:
            wanted = f"of the image's {image_hw[1]} x {image_hw[0]} pixels are wanted"
            raise ValueError(f"masks: {wanted}; number {i} is of {width} x {height}")
