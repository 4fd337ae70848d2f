"""What the command sets for its process, which a library must leave to its program.

Torch, OpenBLAS and OpenCV read most of it once, when they load, so nothing here imports them.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# By their numbers in malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD.
MALLOC_SETTINGS = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}
# Each says how long threads that wait for work spin.
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def prepare_process() -> None:
    """Set what suits a command; what the user's environment says stays. Call it before torch loads.

    Programs that this process starts inherit it.
    """
    keep_memory()
    wait_without_spinning()
    respect_quota()


def keep_memory() -> None:
    """Let this process keep the memory it frees, in large pages, instead of asking anew.

    The decoder makes and drops tensors of some megabytes all the time; fetching their pages from
    the system took a quarter of a run. For Linux with glibc; elsewhere it does nothing.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            for parameter, value in MALLOC_SETTINGS.items():
                mallopt(parameter, value)


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait for each other.

    They spin for milliseconds otherwise, and where another process needs a core, that is time the
    thread they wait for does not get.
    """
    if not any(name in os.environ for name in SPINNING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def respect_quota(root: Path = Path("/")) -> None:
    """Have no more threads than `cpu_quota` pays for, rounded up.

    Torch counts the machine's cores; so many threads use a small quota up early in each period, and
    all of them wait for the next. root: as for `cpu_quota`.
    """
    quota = cpu_quota(root)
    if quota is None or math.ceil(quota) >= _nb_cores():
        return
    count = str(math.ceil(quota))
    if "MKL_NUM_THREADS" not in os.environ:  # torch takes it before OMP_NUM_THREADS
        os.environ.setdefault("OMP_NUM_THREADS", count)
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", count)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPUs whose time this process may use, by Linux's control groups; None for no limit.

    Of its own group and those above, the smallest limit counts. What cannot be read is no limit.
    root: the folder that `proc` and `sys` are in
    """
    limits = (_limit(folder) for folder in _groups(root))
    return min((limit for limit in limits if limit is not None), default=None)


def _nb_cores() -> int:
    """Those this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that may limit this process, each after those below it.

    A container may see the names that its groups have outside: those folders are not there, and
    its own group is the topmost.
    """
    for line in _text(root / "proc/self/cgroup").split("\n"):
        _, _, of = line.partition(":")
        controllers, _, name = of.partition(":")
        # Version 2 has all controllers in one tree, and a second one's place beside version 1.
        mounts = ("", "unified") if not controllers else (controllers, "cpu")
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(name.lstrip("/"))
        for mount in mounts:
            for folder in (group, *group.parents):
                yield root / "sys/fs/cgroup" / mount / folder


def _limit(group: Path) -> float | None:
    """The CPUs one group may use: microseconds of time in a period of so many."""
    version_1 = (_text(group / f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    try:
        quota, period = map(int, (_text(group / "cpu.max") or " ".join(version_1)).split())
    except ValueError:  # "max", or no such files
        return None
    return quota / period if quota > 0 < period else None


def _text(path: Path) -> str:
    """What a file says; nothing if it cannot be read."""
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""
