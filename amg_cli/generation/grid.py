"""Where to look: crops of the image, and a grid of points in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import GenerationConfig


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


def point_grids(config: GenerationConfig) -> list[NDArray[np.float64]]:
    """The points of each crop layer: (N, 2), x and y in the unit square, rows outer.

    Source: the reference generator, step 2; a layer it would give no point gets one.
    """
    factor = config.crop_n_points_downscale_factor
    return [
        _grid(max(1, int(config.points_per_side / factor**layer)))
        for layer in range(config.crop_n_layers + 1)
    ]


def _grid(per_side: int) -> NDArray[np.float64]:
    margin = 1 / (2 * per_side)
    along = np.linspace(margin, 1 - margin, per_side)
    x, y = np.meshgrid(along, along)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def checked_grids(
    grids: Sequence[NDArray[np.float64]], config: GenerationConfig
) -> list[NDArray[np.float64]]:
    """A caller's own grids, one a layer. Raises ValueError where they do not fit."""
    if len(grids) != config.crop_n_layers + 1:
        raise ValueError(f"point_grids: {len(grids)} for {config.crop_n_layers + 1} layers")
    checked = [np.asarray(grid, dtype=np.float64) for grid in grids]
    for grid in checked:
        if grid.ndim != 2 or grid.shape[1] != 2 or not grid.size:
            raise ValueError(f"point_grids: each is (N, 2), not {grid.shape}")
        if not ((grid >= 0) & (grid <= 1)).all():
            raise ValueError("point_grids: x and y are from 0 to 1")
    return checked
