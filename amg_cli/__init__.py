"""amg: masks of everything in an image, by models of the Segment Anything family.

model = amg_cli.load_model("mobile_sam.pt")
masks = amg_cli.generate(image_rgb, model)

encoded = amg_cli.encode_image(model, image_rgb)
found = amg_cli.predict(model, encoded, amg_cli.Prompts([[[x, y]]]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from amg_cli.core.version import __version__

if TYPE_CHECKING:
    from amg_cli.core.candidates import Candidates
    from amg_cli.core.config import GenerationConfig
    from amg_cli.core.drawing import draw
    from amg_cli.core.errors import AmgError
    from amg_cli.core.mask import Mask
    from amg_cli.core.masks import Masks
    from amg_cli.core.naming import NamingConfig
    from amg_cli.formats.reference_record import reference_record
    from amg_cli.generation.everything import generate
    from amg_cli.generation.predict import Encoded, Prediction, encode_image, predict
    from amg_cli.generation.prompts import Prompts
    from amg_cli.generation.propose import propose
    from amg_cli.generation.select import select
    from amg_cli.segment_anything.predictor import SamPredictor
    from amg_cli.tasks.boxes import Instance, segment_boxes
    from amg_cli.tasks.edges import edges
    from amg_cli.tasks.names import name_masks
    from amg_cli.tfimm.predictor import SAMPredictor
    from amg_cli.weights.loading import load_model
    from amg_cli.weights.text_image import load_text_image_encoder

_HOME = {
    "AmgError": "amg_cli.core.errors",
    "Candidates": "amg_cli.core.candidates",
    "Encoded": "amg_cli.generation.predict",
    "GenerationConfig": "amg_cli.core.config",
    "Instance": "amg_cli.tasks.boxes",
    "Mask": "amg_cli.core.mask",
    "Masks": "amg_cli.core.masks",
    "NamingConfig": "amg_cli.core.naming",
    "Prediction": "amg_cli.generation.predict",
    "Prompts": "amg_cli.generation.prompts",
    "SAMPredictor": "amg_cli.tfimm.predictor",
    "SamPredictor": "amg_cli.segment_anything.predictor",
    "draw": "amg_cli.core.drawing",
    "edges": "amg_cli.tasks.edges",
    "encode_image": "amg_cli.generation.predict",
    "generate": "amg_cli.generation.everything",
    "load_model": "amg_cli.weights.loading",
    "load_text_image_encoder": "amg_cli.weights.text_image",
    "name_masks": "amg_cli.tasks.names",
    "predict": "amg_cli.generation.predict",
    "propose": "amg_cli.generation.propose",
    "reference_record": "amg_cli.formats.reference_record",
    "segment_boxes": "amg_cli.tasks.boxes",
    "select": "amg_cli.generation.select",
}

__all__ = [
    "AmgError",
    "Candidates",
    "Encoded",
    "GenerationConfig",
    "Instance",
    "Mask",
    "Masks",
    "NamingConfig",
    "Prediction",
    "Prompts",
    "SAMPredictor",
    "SamPredictor",
    "__version__",
    "draw",
    "edges",
    "encode_image",
    "generate",
    "load_model",
    "load_text_image_encoder",
    "name_masks",
    "predict",
    "propose",
    "reference_record",
    "segment_boxes",
    "select",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `amg --help` loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
