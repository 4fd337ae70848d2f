"""From a checkpoint to a model: recognition by keys, strict loading."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from amg_cli.core.config import whole_number
from amg_cli.core.errors import ConfigError, WeightsError, briefly, in_short
from amg_cli.models.cache import is_present
from amg_cli.models.checkpoints import read_checkpoint
from amg_cli.models.devices import find_device, find_precision
from amg_cli.models.download import offline_error, pull
from amg_cli.models.sam import Sam, SamConfig
from amg_cli.models.threads import survive_forks
from amg_cli.models.zoo import DEFAULT, ZOO, KnownModel, find_known


def load_model(
    name_or_path: str | Path | None = None,
    *,
    model_type: str | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    image_size: int | None = None,
    fixed_input_size: bool | None = None,
    offline: bool = False,
    progress: bool = False,
) -> Sam:
    """A model ready for inference, its parameters rearranged for that.

    name_or_path: a checkpoint file, whose architecture is read from its keys, `~` being the user's
        folder; or the name of a known model, whose checkpoint is downloaded into the cache if it is
        neither there nor in the package, as that of "nano" is; None for the model type, or "nano"
        without one
    model_type: if given, what the file must hold, such as "vit_t"
    device: auto, cpu, mps, cuda or cuda:N, or a torch.device
    precision: of most products: fp32 for exact masks, which auto takes; bf16 or fp16 for speed
    image_size: the longest side that images are scaled to, in pixels; None for the model's own
    fixed_input_size: pad images to a square; otherwise only to whole patches, so that long images
        cost less, while their positions are stretched ones; None for the model's own
    offline: do not download
    progress: a bar on stderr while downloading
    Raises WeightsError for a file that is missing, damaged, not a checkpoint, of another
    architecture than asked for, or cannot be downloaded; ConfigError for a model type that is not
    known, or an image size that does not fit it; DeviceError for a device or precision that
    is not there; TypeError for a name_or_path that is neither.
    """
    survive_forks()
    if model_type:
        _known(model_type)
    target = find_device(str(device))
    dtype = find_precision(precision, target)
    if name_or_path is None:
        path = _path_of(_known(model_type or DEFAULT), offline, progress)
    else:
        path = _checkpoint_path(name_or_path, offline, progress)
    model = load_checkpoint(path, model_type)
    model.config = _at_size(model.config, image_size, fixed_input_size)
    model.precision, model.checkpoint = dtype, path
    model.eval().requires_grad_(False)
    model.image_encoder.fold()
    return model.to(target)


def load_checkpoint(path: Path, model_type: str | None = None) -> Sam:
    """The model that a file holds, with its parameters as they are there, on the CPU.

    model_type: if given, what the file must hold. Errors as of `load_model`.
    """
    wanted = _known(model_type) if model_type else None
    state = read_checkpoint(path)
    found = _recognise(path, state)
    if wanted and wanted.name != found:
        remedy = f"give {wanted.name} weights, or leave the model type out"
        raise WeightsError(path, f"holds {found}, but {wanted.name} was asked for", remedy)
    with torch.device("meta"):  # but for a few tokens, nothing is drawn that the file replaces
        model = Sam(ZOO[found].config)
    singles = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    model.load_state_dict(singles, strict=True, assign=True)
    return model


def _known(name: str) -> KnownModel:
    """The known model of that name. Raises ConfigError if there is none."""
    known = find_known(name)
    if known is None:
        raise ConfigError("model type", f"{name} is not known", f"known: {', '.join(ZOO)}")
    return known


def _checkpoint_path(name_or_path: str | Path, offline: bool, progress: bool) -> Path:
    """The file itself, or that of a known model in the cache, downloaded if it is missing.

    A `Path` is a file, even where it has a model's name.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        wanted = "the path of a checkpoint or a model's name is wanted"
        raise TypeError(f"name_or_path: {wanted}, not {briefly(name_or_path)}")
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 - which takes unknown users as names
    known = find_known(name_or_path) if isinstance(name_or_path, str) else None
    return path if known is None or path.is_file() else _path_of(known, offline, progress)


def _path_of(known: KnownModel, offline: bool, progress: bool) -> Path:
    if offline and not is_present(known):
        raise offline_error(known)
    return pull(known, progress=progress)


def _at_size(config: SamConfig, image_size: int | None, fixed: bool | None) -> SamConfig:
    """The same architecture for inputs of another size; the weights do not depend on it."""
    if fixed is not None:
        config = replace(config, fixed_input_size=fixed)
    if image_size is None:
        return config
    side = whole_number(image_size)
    if side is None:
        raise ConfigError("image size", f"{in_short(image_size)} is not a whole number")
    if side < config.stride or side % config.stride:
        raise ConfigError("image size", f"{side} is not a multiple of {config.stride} pixels")
    return replace(config, input_size=(side, side))


def _recognise(path: Path, state: Mapping[str, Tensor]) -> str:
    """The name of the known model whose parameters `state` has, every one at its shape."""
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    misfits = {}
    for name, known in ZOO.items():
        misfits[name] = _misfits(found, _shapes(known.config))
        if not misfits[name]:
            return name
    nearest = min(misfits, key=lambda name: len(misfits[name]))
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
