"""What the command sets for its process, which a library must leave to its program.

The libraries read most of it once, when they load; so nothing here imports torch, numpy or OpenCV.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from amg_cli.batch.cores import nb_own_cores

# The variable that glibc takes it from, its number in malloc.h, and bytes or a count.
MALLOC_SETTINGS = (
    ("MALLOC_TRIM_THRESHOLD_", -1, 2**31 - 1),
    ("MALLOC_TOP_PAD_", -2, 2**26),
    ("MALLOC_MMAP_THRESHOLD_", -3, 2**25),  # older versions refuse more, and would keep 2**17
    ("MALLOC_MMAP_THRESHOLD_", -3, 2**30),
)
# oneDNN keeps a program for every shape it has met, up to 1024; one image needs some seventy.
PRIMITIVES_KEPT = 128
# Containers that Python makes before it looks for garbage; by default 700, or 2,000.
OBJECTS_BETWEEN_COLLECTIONS = 50_000


def prepare_process() -> None:
    """Set what suits a command, but for what the user's environment says. Before torch loads.

    Programs that this process starts inherit it.
    """
    keep_memory()
    wait_without_spinning()
    respect_quota()
    collect_seldom()


def keep_memory() -> None:
    """Let this process keep the memory it frees, once, in large pages, instead of asking anew.

    The decoder makes and drops tensors of some megabytes all the time; fetching their pages from
    the system took a quarter of a run. For Linux with glibc; elsewhere only oneDNN is told.
    """
    _set_default("THP_MEM_ALLOC_ENABLE", "1")
    _set_default(
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES_KEPT), "DNNL_PRIMITIVE_CACHE_CAPACITY"
    )
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name, parameter, value in MALLOC_SETTINGS:
            if name not in os.environ:
                mallopt(parameter, value)


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait for each other.

    They spin otherwise, and where another process needs a core, they take it from the very thread
    they wait for.
    """
    _set_default("OMP_WAIT_POLICY", "PASSIVE", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def respect_quota(root: Path = Path("/")) -> None:
    """Have no more threads than `cpu_quota` pays for, rounded up.

    Torch counts the machine's cores; so many threads use a small quota up early in each period, and
    all of them wait for the next. root: as for `cpu_quota`.
    """
    quota = cpu_quota(root)
    if quota is not None and math.ceil(quota) < nb_own_cores():
        count = str(math.ceil(quota))
        _set_default("OMP_NUM_THREADS", count, "MKL_NUM_THREADS")
        _set_default("OPENCV_FOR_THREADS_NUM", count)


def collect_seldom() -> None:
    """Let Python look for garbage seldom, and at the end of the process not at all.

    Torch makes half a million objects when it is imported, none of them garbage. They were looked
    through again and again meanwhile, and once more at the end: half a second of each command.
    """
    if gc.get_threshold()[0] < OBJECTS_BETWEEN_COLLECTIONS:
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
        atexit.register(gc.freeze)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPUs whose time this process may use, by Linux's control groups; None for no limit.

    Of its own group and those above, the smallest limit counts. What cannot be read is no limit.
    root: the folder that `proc` and `sys` are in
    """
    limits = (_limit(folder) for folder in _groups(root))
    return min((limit for limit in limits if limit is not None), default=None)


def _set_default(name: str, value: str, *same: str) -> None:
    """Set a variable, unless the user has set it, or one of those that say the same."""
    if not any(other in os.environ for other in (name, *same)):
        os.environ[name] = value


def _groups(root: Path) -> Iterator[Path]:
    """Where the groups that may limit this process lie, each followed by those above it.

    A container may see the names that its groups have outside: no folder has those, and its own
    group is the topmost.
    """
    for line in _text(root / "proc/self/cgroup").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:
            mounts = ("", "unified")  # version 2, alone or beside version 1
        elif "cpu" in controllers.split(","):
            mounts = (controllers, "cpu")
        else:
            continue
        group = PurePosixPath(name.lstrip("/"))
        for mount in mounts:
            for folder in (group, *group.parents):
                yield root / "sys/fs/cgroup" / mount / folder


def _limit(group: Path) -> float | None:
    """The CPUs one group may use: so much time in each period, both in microseconds."""
    version_1 = " ".join(_text(group / f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    try:
        quota, period = map(int, (_text(group / "cpu.max") or version_1).split())
    except ValueError:  # "max", or no such files
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str:
    """What a file says; nothing if it cannot be read."""
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""
