"""amg: masks of everything in an image, by models of the Segment Anything family.

model = amg_cli.load_model("mobile_sam.pt")
masks = amg_cli.generate(image_rgb, model)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from amg_cli.core.version import __version__

if TYPE_CHECKING:
    from amg_cli.core.config import GenerationConfig
    from amg_cli.core.errors import AmgError
    from amg_cli.core.mask import Mask
    from amg_cli.formats.reference_record import reference_record
    from amg_cli.generation.everything import generate
    from amg_cli.weights.loading import load_model

_HOME = {
    "AmgError": "amg_cli.core.errors",
    "GenerationConfig": "amg_cli.core.config",
    "Mask": "amg_cli.core.mask",
    "generate": "amg_cli.generation.everything",
    "load_model": "amg_cli.weights.loading",
    "reference_record": "amg_cli.formats.reference_record",
}

__all__ = [
    "AmgError",
    "GenerationConfig",
    "Mask",
    "__version__",
    "generate",
    "load_model",
    "reference_record",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `amg --help` loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
