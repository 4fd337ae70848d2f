"""What `generate` and prompts by hand are given, refused in words before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import briefly


def check_arguments(image_rgb: Any, model: Any, config: Any) -> None:
    """Raises TypeError for a model or settings that are none, or in each other's place.

    `as_rgb` checks the image, `checked_grids` the grids.
    """
    if _is_model(image_rgb) and not _is_model(model):
        order = "the order is generate(image_rgb, model)"
        raise TypeError(f"image_rgb: a model is given, and as model {briefly(model)}; {order}")
    check_model(model)
    if not isinstance(config, GenerationConfig):
        given = "**config" if isinstance(config, Mapping) else "points_per_side=16"
        remedy = f"write GenerationConfig({given})"
        raise TypeError(f"config: a GenerationConfig is wanted, not {briefly(config)}; {remedy}")


def check_model(model: Any, quickly: bool = False) -> None:
    """Raises TypeError for what is no model, and for a model that is not in single precision.

    Its inputs are; and in half precision its layer norms overflow.
    quickly: look at one parameter of each part, as a click is over before all are looked at
    """
    if not _is_model(model):
        remedy = "load one: amg_cli.load_model(path)"
        raise TypeError(f"model: a loaded model is wanted, not {briefly(model)}; {remedy}")
    if not isinstance(model, nn.Module):
        return  # a kind of its own, which knows its types
    some = (next(part.parameters()) for part in model.children())
    for weights in some if quickly else model.parameters():
        if weights.is_floating_point() and weights.dtype != torch.float32:
            remedy = "load it again, and for speed give load_model a precision, such as bf16"
            raise TypeError(f"model: its weights are {weights.dtype}; {remedy}")


def _is_model(value: Any) -> bool:
    """Whether it has what is used of one: several classes may."""
    return all(hasattr(value, name) for name in ("config", "encode", "decode"))
