"""What the model runs on: a device, and so many threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import torch

from amg_cli.core.errors import DeviceError

CPUS = ("cpu",)  # torch's names
PRECISIONS = {
    "auto": torch.float32,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def is_cpu(device: torch.device) -> bool:
    """Whether the program computes itself there: small parts that stay in a cache, nothing drawn
    that need not be; on other devices it gives out whole work in fixed shapes, and waits for none.
    """
    return device.type in CPUS


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


def find_devices(names: str) -> list[torch.device]:
    """The devices of names parted by commas, each once. Errors as of `find_device`."""
    return list(dict.fromkeys(find_device(name.strip()) for name in names.split(",")))


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of a precision: auto, fp32, bf16 or fp16. auto is fp32, whose masks are exact.

    Raises DeviceError for another name, and for fp16 on a CPU, which does not multiply it fast.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"precision {name}", "unknown", f"use {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16", "slow on a CPU", "use fp32 or bf16")
    return PRECISIONS[name]


def multiplies_bf16() -> bool:
    """Whether the processor has instructions for it: avx512_bf16, amx_bf16, Arm's bf16."""
    # Newer torch only.
    names: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(there for name, there in names.items() if "bf16" in name)


def synchronizer(device: torch.device) -> Callable[[], object] | None:
    """What waits until a device has done all it was given; None where nothing needs to."""
    if device.type == "cuda":
        return partial(torch.cuda.synchronize, device)
    return torch.mps.synchronize if device.type == "mps" else None


def set_threads(count: int) -> None:
    """Use `count` CPU threads for everything that computes here: torch and OpenCV."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or torch.backends.mps.is_available())
