"""What the model runs on: a device, and so many threads."""

from __future__ import annotations

import cv2
import torch

from amg_cli.core.errors import DeviceError


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


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or torch.backends.mps.is_available())
