"""The models by the names that segment-anything and MobileSAM give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from amg_cli.models.sam import Sam
from amg_cli.weights.loading import load_model
from amg_cli.weights.zoo import ALIASES, ZOO


def _build(name: str, checkpoint: str | Path | None = None) -> Sam:
    """The model on the CPU, as there; `.to(device)` moves it.

    checkpoint: its file. Without one the known weights are taken, downloaded if they are not in the
    cache, where segment-anything gives random ones.
    """
    return load_model(checkpoint, model_type=name, device="cpu")


sam_model_registry: dict[str, Callable[..., Sam]] = {
    name: partial(_build, name) for name in (*ZOO, *ALIASES)
}
