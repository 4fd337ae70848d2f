"""What earlier versions of `amg` recorded of how masks were made, read as of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings that have come since, as they were when there was no choice.
ONLY_CHOICES = {
    "task": "everything",
    "classes": None,
    "text": None,
    "backend": "torch",
    "use_m2m": False,
    "hq_token_only": False,
    "coarse_nms_thresh": 1.0,
}


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, with those that have come since."""
    return {**ONLY_CHOICES, **settings}
