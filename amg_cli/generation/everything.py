"""The masks of everything in an image. H W are its pixels, N counts the points of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import GenerationConfig
from amg_cli.core.host import in_own_precision
from amg_cli.core.image import ImageLike
from amg_cli.core.masks import Masks
from amg_cli.generation.propose import candidates_for
from amg_cli.generation.select import select
from amg_cli.models.sam import Sam


@in_own_precision
def generate(
    image_rgb: ImageLike,
    model: Sam,
    config: GenerationConfig | None = None,
    *,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
    roi: Any = None,
) -> Masks:
    """Masks of everything in an image, best first.

    image_rgb:   (H, W, 3) uint8; or what `as_rgb` takes besides: grey, or an image of Pillow
    config:      settings; None for the model's own, which are the reference's defaults but for nano
                 and SAM 2
    point_grids: instead of the regular grids, one for each crop layer: (N, 2), x and y in the unit
                 square. Then points_per_side, which may be None, and
                 crop_n_points_downscale_factor are not used.
    roi:         only points in this part of the image are asked for: a box (x0, y0, x1, y1) in
                 pixels, inclusive, or as shares such as "10%"; or a mask (H, W), of bool or whole
                 numbers. A mask that is found may reach out of it.
    The same input gives the same masks, whatever points_per_batch, on one machine at one number of
    threads. Raises TypeError or ValueError, naming the argument and what would be right, for one of
    another kind, shape or type.
    Source: `SamAutomaticMaskGenerator.generate` of segment-anything 1.0.
    """
    if config is None:
        config = GenerationConfig(**getattr(model, "settings", {}))
    return select(candidates_for(model, image_rgb, config, point_grids, roi), config)
