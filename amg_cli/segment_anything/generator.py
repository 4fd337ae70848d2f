"""`SamAutomaticMaskGenerator`, over `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.config import GenerationConfig
from amg_cli.formats.reference_record import OutputMode, reference_record
from amg_cli.generation.everything import generate
from amg_cli.models.sam import Sam


class SamAutomaticMaskGenerator:
    """Masks of everything in an image, as dicts.

    settings: those of `GenerationConfig`, by the same names and with the same defaults as there
    point_grids: for each layer of crops points (P, 2) in [0, 1], instead of `points_per_side`
    output_mode: what `segmentation` is: an array (H, W), or an RLE, compressed or not

    Errors as of `GenerationConfig` and `generate`. Source: segment-anything 1.0.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        *,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        output_mode: OutputMode = "binary_mask",
        **settings: Any,
    ) -> None:
        self.model = model
        self.point_grids = point_grids
        self.output_mode: OutputMode = output_mode
        self.config = GenerationConfig(points_per_side=points_per_side, **settings)

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """The masks of an image, (H, W, 3) uint8 RGB, best first; see `reference_record`."""
        masks = generate(image, self.model, self.config, point_grids=self.point_grids)
        return [reference_record(mask, self.output_mode) for mask in masks]
