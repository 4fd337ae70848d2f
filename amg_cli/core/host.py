"""The program that calls: what it has set of torch does not change what is computed here.

Default types and devices need nothing here: every tensor is made with its own, as a test sees to.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

AUTOCASTING = ("cpu", "cuda", "mps")  # the devices of models

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which computes in its own types inside a caller's `torch.autocast` too.

    That is switched off for the calling thread, while the function runs. Not for generators.
    """

    @wraps(function)
    def own_types(*args: P.args, **kwargs: P.kwargs) -> R:
        """As the function."""
        with ExitStack() as off:
            for kind in AUTOCASTING:
                if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                    off.enter_context(torch.autocast(kind, enabled=False))
            return function(*args, **kwargs)

    return own_types
