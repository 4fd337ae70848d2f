"""The classes of `segment-anything`, by their names, for programs that are written for them.

The import line is all that changes: `from amg_cli.segment_anything import SamPredictor, …`.
Source: segment-anything 1.0. Inside, they are `amg_cli.predict` and `amg_cli.generate`.
"""

from __future__ import annotations

from amg_cli.segment_anything.generator import SamAutomaticMaskGenerator
from amg_cli.segment_anything.predictor import SamPredictor
from amg_cli.segment_anything.registry import sam_model_registry

__all__ = ["SamAutomaticMaskGenerator", "SamPredictor", "sam_model_registry"]
