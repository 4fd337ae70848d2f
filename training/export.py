"""From a training to the file that comes with the package."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from pathlib import Path

import torch

from amg_cli.models.sam import Sam
from training.train import Run


def averaged(run: Run) -> Sam:
    """The student with the average of its weights, for inference."""
    model = deepcopy(run.student).eval().requires_grad_(False)
    model.load_state_dict(model.state_dict() | run.average)
    return model


def export(model: Sam, path: Path) -> str:
    """Write the weights in 16 bits, as a checkpoint. -> its SHA-256.

    float16, as no weight is near its largest number, and bfloat16 has three binary digits fewer.
    """
    state = model.state_dict()
    halves = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    assert all(t.isfinite().all() for t in halves.values())
    torch.save(halves, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
