"""The program that calls: what it has set of torch does not change what is computed here.

Default types and devices need nothing here: every tensor is made with its own, as a test sees to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import backends

AUTOCASTING = ("cpu", "cuda", "mps")  # the devices of models

P = ParamSpec("P")
R = TypeVar("R")


def in_own_precision(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which computes in its own types whatever its caller has set.

    Inside a caller's `torch.autocast` that is switched off, for the calling thread. And products in
    float32 are not of TF32's 10 bits, which GPUs take for convolutions by default: on one a quarter
    of all masks was not the CPU's; torch has that setting for all threads. Both are as they were
    when the function returns. Not for generators.
    """

    @wraps(function)
    def own_types(*args: P.args, **kwargs: P.kwargs) -> R:
        """As the function."""
        with ExitStack() as off:
            for kind in AUTOCASTING:
                if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                    off.enter_context(torch.autocast(kind, enabled=False))
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                off.enter_context(without_tf32())
            return function(*args, **kwargs)

    return own_types


class _Tf32:
    """Of the process, as torch's setting is: how many calls have it off, and what it was before."""

    lock = threading.Lock()
    nb_calls = 0
    before = ExitStack()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, a GPU's products of float32 are float32's; and until the last thread is out."""
    with _Tf32.lock:
        if not _Tf32.nb_calls:
            _Tf32.before = _switch_tf32_off()
        _Tf32.nb_calls += 1
    try:
        yield
    finally:
        with _Tf32.lock:
            _Tf32.nb_calls -= 1
            if not _Tf32.nb_calls:
                _Tf32.before.close()


def _switch_tf32_off() -> ExitStack:
    """-> what sets it back when it is closed.

    Since 2.9 torch has two ways to set it, and the older raises an error where a caller has used
    the newer for some parts. So each is set, and set back.
    """
    back = ExitStack()
    parts: list[Any] = [backends.cuda.matmul]
    parts += [getattr(backends.cudnn, name, None) for name in ("conv", "rnn")]
    for part in parts:
        if hasattr(part, "fp32_precision"):
            back.callback(setattr, part, "fp32_precision", part.fp32_precision)
    with suppress(RuntimeError):
        back.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    with suppress(RuntimeError):
        back.callback(setattr, backends.cudnn, "allow_tf32", backends.cudnn.allow_tf32)
        backends.cudnn.allow_tf32 = False
    for part in parts:
        if hasattr(part, "fp32_precision"):
            part.fp32_precision = "ieee"
    return back
