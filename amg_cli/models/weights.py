"""From a checkpoint file to a model: safe reading, recognition by keys, strict loading."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from amg_cli.core.errors import ConfigError, WeightsError
from amg_cli.models.devices import find_device
from amg_cli.models.sam import Sam, SamConfig
from amg_cli.models.zoo import ZOO

# MobileSAM's file still has the classifier that TinyViT was pre-trained with.
UNUSED_KEYS = ("image_encoder.norm_head.", "image_encoder.head.")

# What torch.load raises for files that are no checkpoint, whatever they hold.
_READ_ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError)


def load_model(
    name_or_path: str | Path, *, model_type: str | None = None, device: str = "auto"
) -> Sam:
    """A model ready for inference, from an official checkpoint file.

    name_or_path: a file. Its architecture is read from its keys.
    model_type: if given, what the file must hold, such as "vit_t"
    device: auto, cpu, mps, cuda or cuda:N
    Raises WeightsError for a file that is missing, damaged, not a checkpoint, or of another
    architecture than asked for; ConfigError for a model type that is not known; DeviceError for a
    device that is not there.
    """
    if model_type not in (None, *ZOO):
        raise ConfigError("model type", f"{model_type} is not known", f"known: {', '.join(ZOO)}")
    known = ZOO.get(str(name_or_path))
    if known is not None and not Path(name_or_path).exists():
        remedy = f"get it at {known.url} and pass the file's path"
        raise WeightsError(known.name, "its checkpoint is needed", remedy)
    target = find_device(device)
    path = Path(name_or_path)
    state = read_checkpoint(path)
    found = _recognise(path, state)
    if model_type not in (None, found):
        remedy = f"give {model_type} weights, or leave the model type out"
        raise WeightsError(path, f"holds {found}, but {model_type} was asked for", remedy)
    model = Sam(ZOO[found].config)
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False).to(target)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by official key; never runs code from the file.

    Raises WeightsError, naming the file and what is wrong with it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(path, error.strerror or str(error), "check --checkpoint") from error
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(path, "not a checkpoint of tensors by name", "give an official file")
    return {k: v for k, v in state.items() if not k.startswith(UNUSED_KEYS)}


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


def _recognise(path: Path, state: Mapping[str, Tensor]) -> str:
    """The name of the known model whose parameters `state` has, every one at its shape."""
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    misfits = {name: _misfits(found, _shapes(known.config)) for name, known in ZOO.items()}
    nearest = min(misfits, key=lambda name: len(misfits[name]))
    if not misfits[nearest]:
        return nearest
    listed = ", ".join(misfits[nearest][:3])
    more = f" and {len(misfits[nearest]) - 3} more" if len(misfits[nearest]) > 3 else ""
    cause = f"holds no architecture amg knows; nearest is {nearest}, but {listed}{more}"
    raise WeightsError(path, cause, f"known are: {', '.join(ZOO)}")


def _misfits(found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> list[str]:
    """What keeps `found` from being `wanted`, a phrase for each key."""
    both = [key for key in wanted if key in found]
    return [
        *(f"{key} is {found[key]}, not {wanted[key]}" for key in both if found[key] != wanted[key]),
        *(f"{key} is missing" for key in wanted if key not in found),
        *(f"{key} is foreign" for key in found if key not in wanted),
    ]


@cache
def _shapes(config: SamConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of an architecture, without allocating it."""
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in Sam(config).state_dict().items()}
