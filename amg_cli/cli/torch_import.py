"""Torch, sooner: what only compilers need is left out.

Of the second that `import torch` takes, a quarter goes to one module that no run has a use for.
That is of torch's inside: where it is not as it is expected to be here, torch is imported as ever.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

# What tensors without data ("meta") do where that is written in Python, for tracing and compiling.
# `import torch` imports it for its effects, of which tensors that have data see nothing.
META_KERNELS = "torch._meta_registrations"
# What comes after torch itself where weights are loaded and used. All else may trace or compile.
OF_A_RUN = ("torch.utils._device", "torch.utils.serialization", "torch._weights_only_unpickler")


def import_torch() -> None:
    """Import torch; without `META_KERNELS`, which come with the first module that may need them."""
    if "torch" in sys.modules:
        return
    with _no_collection():
        _import_without_meta_kernels()


def _import_without_meta_kernels() -> None:
    put_off = _PutOff(META_KERNELS)
    sys.modules[META_KERNELS] = put_off
    try:
        import torch
    finally:
        if sys.modules.get(META_KERNELS) is put_off:
            del sys.modules[META_KERNELS]
    if META_KERNELS not in sys.modules:
        vars(torch).pop(META_KERNELS.rpartition(".")[2], None)
        sys.meta_path.insert(0, _BeforeOthers())


class _PutOff(ModuleType):
    """In the place of a module that is imported for its effects, until more of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which Python looks for in every module
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


class _BeforeOthers(MetaPathFinder):
    """Imports `META_KERNELS` before a module of torch that is not `OF_A_RUN`, as torch does.

    Its place is right before them: the modules import each other in circles, which no other order
    resolves.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        """Finds those that `META_KERNELS` has imported, and otherwise nothing itself."""
        if not fullname.startswith("torch.") or fullname.startswith(OF_A_RUN):
            return None
        sys.meta_path.remove(self)
        import_module(META_KERNELS)
        module = sys.modules.get(fullname)
        if module is None:
            return None
        loader = _AsItIs(module.__spec__)
        module.__spec__ = None  # else Python would take that, and run the module anew
        return spec_from_loader(fullname, loader)


class _AsItIs(Loader):
    """Gives a module that is there, and leaves it as it was. spec: its own"""

    def __init__(self, spec: ModuleSpec | None) -> None:
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""
        module.__spec__ = self._spec


@contextmanager
def _no_collection() -> Iterator[None]:
    """Inside, garbage is not looked for; what is made there, which is to stay, never is looked at.

    Torch's objects are half a million.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
