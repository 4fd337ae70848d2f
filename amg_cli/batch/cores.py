"""What this machine has for a run: cores, memory, and how they are shared out."""

from __future__ import annotations

import os
import re
from pathlib import Path


def choose_threads(nb_images: int | None, workers: int | None) -> int:
    """CPU threads for each worker of a new run, where none are asked for.

    nb_images: to do; None where that is not known yet, and many are expected
    With images enough for every core each worker has one thread: threads that share an image's work
    wait for each other.
    """
    wanted = workers or min(nb_cores(), nb_cores() if nb_images is None else max(1, nb_images))
    return max(1, nb_cores() // wanted)


def nb_cores() -> int:
    """Those to share out: as many as OpenMP is told to have threads, else those there are."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else nb_own_cores()


def nb_own_cores() -> int:
    """Those this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_bytes() -> float:
    """Memory that can be had without swapping, where the system says; else no limit."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return float("inf")
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found[1]) * 1024.0 if found else float("inf")
