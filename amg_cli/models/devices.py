"""What the model runs on: a device, and so many threads."""

from __future__ import annotations

import ctypes
import os
import sys

import cv2
import torch

from amg_cli.core.errors import DeviceError

# By their numbers in malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD.
MALLOC_SETTINGS = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}


def find_device(name: str = "auto") -> torch.device:
    """The device called `name`: auto, cpu, mps, cuda or cuda:N. auto is cuda, else mps, else cpu.

    Raises DeviceError where this machine, or this torch, has no such device.
    """
    if name == "auto":
        name = next((d for d in ("cuda", "mps") if _count(d)), "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise DeviceError(f"device {name}", "unknown", "use auto, cpu, mps, cuda or cuda:N")
    if int(index or 0) >= _count(kind):
        have = ", ".join(f"{d} ({_count(d)})" for d in ("cpu", "cuda", "mps") if _count(d))
        raise DeviceError(
            f"device {name}",
            f"not on this machine, as torch {torch.__version__} sees it",
            f"here are: {have}; or use auto",
        )
    return torch.device(name)


def set_threads(count: int) -> None:
    """Use `count` CPU threads for everything that computes here: torch and OpenCV."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def keep_memory() -> None:
    """Let this process keep the memory it frees, in large pages, instead of asking anew.

    The decoder makes and drops tensors of some megabytes all the time; fetching their pages from
    the system took a quarter of a run. For Linux with glibc; elsewhere it does nothing. Call it
    before torch has made a tensor. A command may do so, a library must leave it to its program.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            for parameter, value in MALLOC_SETTINGS.items():
                mallopt(parameter, value)


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or torch.backends.mps.is_available())
