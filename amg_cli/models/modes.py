"""How a model is run, apart from its weights: one value, which nothing changes in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """No compiler."""
    return function


@dataclass(frozen=True)
class Modes:
    """The modes of a model.

    precision:    of drawing masks, and of encoding where the encoder is made for it
    fixed_shapes: images are padded to the whole input, and masks drawn where the image is padding
                  too, so that shapes never change
    compiled:     makes a faster function of a function or a network, as torch.compile does
    """

    precision: torch.dtype = torch.float32
    fixed_shapes: bool = False
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = as_it_is
