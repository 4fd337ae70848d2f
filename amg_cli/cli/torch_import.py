"""Torch, sooner: its library is loaded meanwhile, and what only compilers need is left out.

Of the second that `import torch` takes, a fifth goes to loading one library, and a quarter to one
module that no run has a use for. Both are of torch's inside: where that is not as it is expected
to be here, torch is imported as ever.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from amg_cli.batch.cores import nb_own_cores

LIBRARY = "libtorch_cpu.so"
# Of builds for GPUs, whose libraries torch loads in an order of its own.
OF_GPUS = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")
LOADING = "loading of torch's library"  # the thread's name
# What a run or torch imports after the thread has begun, of modules that are libraries too. The
# system loads one at a time, so that these would wait for the thread, and Python with them.
COMPILED = (
    *("_asyncio", "_posixshmem", "_queue", "_ssl"),
    *("binascii", "cmath", "grp", "mmap", "unicodedata"),
)
# What torch imports beside itself. It loads its library first, and has nothing else to do then.
BESIDE = (
    *("asyncio", "http.client", "pickletools", "torchgen.model"),
    *("typing_extensions", "unittest.mock", "urllib.request"),
)

# What tensors without data ("meta") do where that is written in Python, for tracing and compiling.
# `import torch` imports it for its effects, of which tensors that have data see nothing.
META_KERNELS = "torch._meta_registrations"
# What comes after torch itself where weights are loaded and used. All else may trace or compile.
OF_A_RUN = ("torch.utils._device", "torch.utils.serialization", "torch._weights_only_unpickler")


def load_library_meanwhile() -> None:
    """Begin to load torch's library in a thread, while this one imports what is written in Python.

    For what will import torch, before it does. Python's own way holds its lock until a library is
    loaded, so that no other thread runs; a call of the system's function does not. A process that
    ends meanwhile waits for it, as what a library does when it loads must not meet its end.
    """
    library = _library()
    dlopen: Any = library and getattr(ctypes.CDLL(None), "dlopen", None)
    if not dlopen:
        return
    _import_what_is_there(COMPILED)
    dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    given = (os.fsencode(str(library)), sys.getdlopenflags())
    threading.Thread(target=dlopen, args=given, name=LOADING).start()


def import_torch() -> None:
    """Import torch; without `META_KERNELS`, which come with the first module that may need them."""
    if "torch" in sys.modules:
        return
    with _no_collection():
        loading = [thread for thread in threading.enumerate() if thread.name == LOADING]
        if loading:
            _import_what_is_there(BESIDE)
        for thread in loading:
            thread.join()  # not only for its library: what comes may fork
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


def _import_what_is_there(names: Iterable[str]) -> None:
    for name in names:
        with suppress(ImportError):
            import_module(name)


def _library() -> Path | None:
    """The file that takes time to load, where loading it first changes nothing else.

    What torch loads before it, so that all libraries see that, is loaded too.
    """
    if sys.platform != "linux" or "torch" in sys.modules or nb_own_cores() == 1:
        return None
    spec = None if "TORCH_USE_RTLD_GLOBAL" in os.environ else find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "lib"
    if not (folder / LIBRARY).exists() or any((folder / name).exists() for name in OF_GPUS):
        return None
    try:
        ctypes.CDLL(str(folder / "libtorch_global_deps.so"), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return None
    return folder / LIBRARY
