"""Where to look: the whole image and crops of it, each with its grid of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.boxes import EDGE_MARGIN_PX
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError, briefly
from amg_cli.core.region import Region

ONE_GRID = "one grid alone is given as point_grids=[grid]"


@dataclass(frozen=True)
class Crop:
    """A part of the image to run the model on.

    layer:    0 is the whole image, 1 the largest crops
    box_xyxy: in pixels of the image, right and bottom exclusive
    """

    layer: int
    box_xyxy: tuple[int, int, int, int]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        x0, y0, x1, y1 = self.box_xyxy
        return y1 - y0, x1 - x0

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of `image`, (H, W, 3)."""
        x0, y0, x1, y1 = self.box_xyxy
        return image[y0:y1, x0:x1]


@dataclass(frozen=True)
class View:
    """A crop, how it is prompted, and which of its masks are of no use.

    unit_grid: (N, 2) float64, the prompts' x and y in the crop's unit square
    margin_px: a mask that ends so near to an edge of the crop goes, as one that is cut; but at an
        edge of the image none is
    """

    crop: Crop
    unit_grid: NDArray[np.float64]
    margin_px: int = EDGE_MARGIN_PX

    @property
    def points_xy(self) -> NDArray[np.float64]:
        """(N, 2): the prompts, in pixels of the crop."""
        height, width = self.crop.size_hw
        return self.unit_grid * np.array([width, height])

    def within(self, region: Region, image_hw: tuple[int, int]) -> View:
        """The same with those prompts alone that lie in a region of the image."""
        in_image = self.points_xy + np.array(self.crop.box_xyxy[:2])
        return replace(self, unit_grid=self.unit_grid[region.holds(in_image, image_hw)])


def views(
    image_hw: tuple[int, int],
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
) -> list[View]:
    """The views of an image, in the order that decides ties.

    point_grids: a caller's own, one a layer of crops; None for the regular ones
    Raises TypeError or ValueError, of which ConfigError is one, for grids that do not fit.
    """
    grids = regular_grids(config) if point_grids is None else checked_grids(point_grids, config)
    return [View(crop, grids[crop.layer]) for crop in crops(image_hw, config)]


def crops(image_hw: tuple[int, int], config: GenerationConfig) -> list[Crop]:
    """The whole image, then each layer's crops, x outer and y inner. The order decides ties.

    In images of few pixels some crops would be empty; those are left out.
    Source: the reference generator, step 1.
    """
    height, width = image_hw
    found = [Crop(0, (0, 0, width, height))]
    for layer in range(1, config.crop_n_layers + 1):
        per_side = 2**layer
        overlap = int(config.crop_overlap_ratio * min(image_hw) * (2 / per_side))
        columns = _spans(width, per_side, overlap)
        rows = _spans(height, per_side, overlap)
        found += [Crop(layer, (x0, y0, x1, y1)) for (x0, x1), (y0, y1) in product(columns, rows)]
    return found


def _spans(length: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """Start and end of `count` overlapping parts of `length` pixels, without the empty ones."""
    part = math.ceil((overlap * (count - 1) + length) / count)
    spans = [(start, min(start + part, length)) for start in range(0, length, part - overlap)]
    return spans[:count]


def regular_grids(config: GenerationConfig) -> list[NDArray[np.float64]]:
    """The points of each crop layer: (N, 2), x and y in the unit square, rows outer.

    Raises ConfigError where points_per_side is None.
    Source: the reference generator, step 2; a layer it would give no point gets one.
    """
    per_side, factor = config.points_per_side, config.crop_n_points_downscale_factor
    if per_side is None:
        remedy = "give either of them"
        raise ConfigError("points_per_side", "is None, and there are no point_grids", remedy)
    return [
        _grid(max(1, int(per_side / factor**layer))) for layer in range(config.crop_n_layers + 1)
    ]


def _grid(per_side: int) -> NDArray[np.float64]:
    margin = 1 / (2 * per_side)
    along = np.linspace(margin, 1 - margin, per_side)
    x, y = np.meshgrid(along, along)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def checked_grids(
    grids: Sequence[NDArray[np.float64]], config: GenerationConfig
) -> list[NDArray[np.float64]]:
    """A caller's own grids, one a layer. Raises TypeError or ValueError where they do not fit."""
    stack = isinstance(grids, Sequence) and not isinstance(grids, (str, bytes))
    if not stack and getattr(grids, "ndim", 0) != 3:
        wanted = "a sequence of (N, 2) arrays is wanted"
        raise TypeError(f"point_grids: {wanted}, not {briefly(grids)}; {ONE_GRID}")
    checked = [_checked(grid) for grid in grids]
    if len(checked) != config.crop_n_layers + 1:
        raise ValueError(f"point_grids: {len(checked)} for {config.crop_n_layers + 1} layers")
    return checked


def _checked(grid: Any) -> NDArray[np.float64]:
    """One grid, (N, 2), as float64."""
    try:
        points = np.asarray(grid, dtype=np.float64)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # numpy's, and a tensor's own
        cause = f"{briefly(grid)} whose rows are not two numbers each"
        raise ValueError(f"point_grids: each is (N, 2), not {cause}") from None
    if points.ndim != 2 or points.shape[1] != 2 or not points.size:
        raise ValueError(f"point_grids: each is (N, 2), not {points.shape}; {ONE_GRID}")
    if not ((points >= 0) & (points <= 1)).all():
        raise ValueError("point_grids: x and y are from 0 to 1")
    return points
