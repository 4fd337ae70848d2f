"""A region of interest: the part of an image whose points the model is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import real_number
from amg_cli.core.errors import ConfigError, ImageError, briefly

WANTED = "must be a box x0, y0, x1, y1 in pixels or shares such as 10%, or a mask (H, W)"


@dataclass(frozen=True)
class Region:
    """A box or a mask; just one of the two is given.

    box_xyxy: in pixels, inclusive, or shares of the image's width and height as text, such as "10%"
    mask:     (H, W) bool, of the image's size
    """

    box_xyxy: tuple[float | str, ...] | None = None
    mask: NDArray[np.bool_] | None = None

    @staticmethod
    def of(value: Any) -> Region:
        """A region from a box or a mask. Raises ConfigError, which names `roi`, for another."""
        if isinstance(value, Region):
            return value
        array = value if isinstance(value, np.ndarray) else None
        if array is not None and array.ndim == 2 and array.dtype.kind in "bui" and array.size:
            return Region(mask=array != 0)
        if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
            raise ConfigError("roi", f"{WANTED}, not {briefly(value)}")
        sides = [_side(side) for side in value]
        if len(sides) != 4 or None in sides:
            raise ConfigError("roi", f"{WANTED}, not {briefly(value)}")
        low, high = sides[:2], sides[2:]
        if any(_is_over(a, b) for a, b in zip(low, high, strict=True)):
            raise ConfigError("roi", "the box's x1 and y1 must not be under its x0 and y0")
        return Region(box_xyxy=tuple(side for side in sides if side is not None))

    def check_size(self, image_hw: tuple[int, int]) -> None:
        """Raises ConfigError where it is a mask of another size than the image."""
        if self.mask is not None and self.mask.shape != image_hw:
            (height, width), (its, own) = image_hw, self.mask.shape
            cause = f"the mask has {own} x {its} pixels, the image {width} x {height}"
            raise ConfigError("roi", cause, "give a mask of the image's size, or a box")

    def holds(self, points_xy: NDArray[np.float64], image_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Which points lie in it. points_xy (N, 2), in pixels of the image -> (N,).

        Raises ConfigError as `check_size` does.
        """
        self.check_size(image_hw)
        height, width = image_hw
        if self.mask is not None:
            pixels = np.floor(points_xy).astype(np.int64)
            rows, columns = pixels[:, 1].clip(0, height - 1), pixels[:, 0].clip(0, width - 1)
            return np.asarray(self.mask[rows, columns], dtype=bool)
        box = self.box_xyxy or ()
        sides = [_px(side, length) for side, length in zip(box, 2 * (width, height), strict=True)]
        low, high = np.array(sides[:2]), np.array(sides[2:])
        return np.asarray(((points_xy >= low) & (points_xy <= high)).all(axis=1))


def check_fits(region: Region | None, where: object, image_hw: tuple[int, int]) -> None:
    """Raises ImageError, of the image `where`, for a region that is a mask of another size."""
    try:
        if region is not None:
            region.check_size(image_hw)
    except ConfigError as error:
        raise ImageError(where, f"`roi`: {error.cause}", error.remedy) from error


def _side(given: object) -> float | str | None:
    """Pixels, or a share; None for anything else."""
    if isinstance(given, str):
        try:
            return given if given.endswith("%") and np.isfinite(float(given[:-1])) else None
        except ValueError:
            return None
    return real_number(given)


def _is_over(low: float | str | None, high: float | str | None) -> bool:
    """Whether the first is more, where both are of one kind; others go by the image."""
    if isinstance(low, str) and isinstance(high, str):
        return float(low[:-1]) > float(high[:-1])
    return isinstance(low, float) and isinstance(high, float) and low > high


def _px(side: float | str, length: int) -> float:
    return float(side[:-1]) / 100 * length if isinstance(side, str) else side
