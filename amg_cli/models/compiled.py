"""Compiling a model with torch.compile, for GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch

from amg_cli.core.errors import DeviceError
from amg_cli.models.devices import is_cpu
from amg_cli.models.sam import Sam


def check_compilable(device: torch.device) -> None:
    """Raises DeviceError for a device on which compiling would make it slower: a CPU."""
    if is_cpu(device):
        raise DeviceError("compiling", "makes it slower on a CPU", "leave it out, or use a GPU")


def compile_model(model: Sam, backend: str | Callable[..., Any] = "inductor") -> None:
    """Let torch compile what takes the time, when it first runs: once for images of all sizes.

    Images are then padded to the whole input and masks drawn there too, so that there is one shape,
    and only `generate` and prompts in groups of one size run without compiling anew.
    backend: of torch.compile

    Errors as of `check_compilable`.
    """
    check_compilable(model.device)
    compiled = cache(partial(torch.compile, backend=backend, dynamic=False))
    model.modes = replace(model.modes, fixed_shapes=True, compiled=compiled)
    model.config = replace(model.config, fixed_input_size=True)
