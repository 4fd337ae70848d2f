"""The classes that `tfimm` has for Segment Anything, by their names, for programs written for them.

Arrays go in and come out. Where that library and the published code of Segment Anything differ, it
is as published, whose weights people use; the docstrings say where.
"""

from __future__ import annotations

from amg_cli.tfimm.config import SegmentAnythingModelConfig
from amg_cli.tfimm.model import SegmentAnythingModel, create_model
from amg_cli.tfimm.predictor import SAMPredictor
from amg_cli.tfimm.resizer import ImageResizer

__all__ = [
    "ImageResizer",
    "SAMPredictor",
    "SegmentAnythingModel",
    "SegmentAnythingModelConfig",
    "create_model",
]
