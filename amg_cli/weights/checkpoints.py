"""Checkpoint files to tensors by official key. Never runs code from a file."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amg_cli.core.errors import WeightsError
from amg_cli.weights.layouts import to_official

# What torch.load raises for files that are no checkpoint, whatever they hold.
_READ_ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by official key, whatever known layout it has.

    Reads PyTorch files, and `safetensors` where that library is installed.
    Raises WeightsError, naming the file and what is wrong with it.
    """
    try:
        saved = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except OSError as error:
        raise WeightsError(path, error.strerror or str(error), "check `checkpoint`") from error
    state = to_official(saved)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(path, "not a checkpoint of tensors by name", "give an official file")
    return dict(state)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**30


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        remedy = "pip install 'amg-cli[safetensors]'"
        raise WeightsError(path, "is safetensors, whose library is missing", remedy) from None
    try:
        return load_file(path)
    except SafetensorError as error:
        cause = f"damaged or cut off ({error})"
        raise WeightsError(path, cause, "download it again") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive and not zipfile.is_zipfile(path):
        size = path.stat().st_size
        return WeightsError(path, f"cut off after {size} bytes", "download it again")
    if "Unsupported global" in str(error):
        cause = "holds Python objects, which could run code; only tensors are loaded"
        return WeightsError(path, cause, "save its state_dict() alone")
    if is_archive:
        return WeightsError(path, "damaged", "download it again")
    return WeightsError(path, "not a PyTorch checkpoint", "give an official .pt or .pth file")
