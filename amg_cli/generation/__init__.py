"""Floor 3: the masks of one image. N counts prompts, K masks, H W the image's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import GenerationConfig
from amg_cli.core.masks import Mask
from amg_cli.generation.propose import propose
from amg_cli.generation.select import select
from amg_cli.models.sam import Sam


def generate(
    image_rgb: NDArray[np.uint8],
    model: Sam,
    config: GenerationConfig | None = None,
    *,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
) -> list[Mask]:
    """Masks of everything in an image, best first.

    image_rgb:   (H, W, 3) uint8
    config:      settings; None for the reference's defaults
    point_grids: instead of the regular grids, one for each crop layer: (N, 2), x and y in the unit
                 square. Then points_per_side and crop_n_points_downscale_factor are not used.
    The same input gives the same masks, whatever points_per_batch, on one machine at one number of
    threads. Raises ValueError for an image or grid of another shape or type.
    Source: `SamAutomaticMaskGenerator.generate` of segment-anything 1.0.
    """
    config = config or GenerationConfig()
    return select(propose(model, image_rgb, config, point_grids), config)
