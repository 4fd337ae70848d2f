"""The masks of everything in an image. H W are its pixels, N counts the points of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import GenerationConfig
from amg_cli.core.host import in_own_precision
from amg_cli.core.image import ImageLike
from amg_cli.core.mask import Mask
from amg_cli.generation.propose import propose
from amg_cli.generation.select import select
from amg_cli.models.sam import Sam


@in_own_precision
def generate(
    image_rgb: ImageLike,
    model: Sam,
    config: GenerationConfig | None = None,
    *,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
) -> list[Mask]:
    """Masks of everything in an image, best first.

    image_rgb:   (H, W, 3) uint8; or what `as_rgb` takes besides: grey, or an image of Pillow
    config:      settings; None for the reference's defaults
    point_grids: instead of the regular grids, one for each crop layer: (N, 2), x and y in the unit
                 square. Then points_per_side, which may be None, and
                 crop_n_points_downscale_factor are not used.
    The same input gives the same masks, whatever points_per_batch, on one machine at one number of
    threads. Raises TypeError or ValueError, naming the argument and what would be right, for one of
    another kind, shape or type.
    Source: `SamAutomaticMaskGenerator.generate` of segment-anything 1.0.
    """
    config = GenerationConfig() if config is None else config
    return select(propose(model, image_rgb, config, point_grids), config)
