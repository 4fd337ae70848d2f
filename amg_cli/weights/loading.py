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
from amg_cli.models.configs import SamConfig
from amg_cli.models.devices import find_device, find_precision
from amg_cli.models.modes import Modes
from amg_cli.models.sam import Sam
from amg_cli.models.threads import survive_forks
from amg_cli.weights.cache import is_file_of, is_present, own_settings
from amg_cli.weights.channels import with_channels
from amg_cli.weights.checkpoints import read_checkpoint
from amg_cli.weights.download import offline_error, pull
from amg_cli.weights.zoo import DEFAULT, ZOO, KnownModel, find_known, known_model


def load_model(  # noqa: PLR0913 - what users choose, all by keyword
    name_or_path: str | Path | None = None,
    *,
    model_type: str | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    image_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    fixed_input_size: bool | None = None,
    in_channels: int | None = None,
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
    input_size: height and width that images are scaled into, instead
    fixed_input_size: pad images to a square; otherwise only to whole patches, so that long images
        cost less, while their positions are stretched ones; None for the model's own
    in_channels: of images, if not three: the first convolution is adapted, as `with_channels` says
    offline: do not download
    progress: a bar on stderr while downloading
    Raises WeightsError for a file that is missing, damaged, not a checkpoint, of another
    architecture than asked for, or cannot be downloaded; ConfigError for a model type that is not
    known, or an image size that does not fit it; DeviceError for a device or precision that
    is not there; TypeError for a name_or_path that is neither.
    """
    survive_forks()
    wanted = known_model(model_type) if model_type else None
    target = find_device(str(device))
    dtype = find_precision(precision, target)
    path, row = _file_and_row(name_or_path, wanted, offline, progress)
    model = load_checkpoint(path, row.name if row else None, in_channels)
    model.config = at_size(model.config, input_size or image_size, fixed_input_size)
    model.modes = Modes(precision=dtype)
    model.eval().requires_grad_(False)
    model.image_encoder.fold()
    return model.to(target)


def load_checkpoint(
    path: Path, model_type: str | None = None, in_channels: int | None = None
) -> Sam:
    """The model that a file holds, with its parameters as they are there, on the CPU.

    model_type: if given, what the file must hold; otherwise, of several known models of that
        architecture, the one whose file it is, by name or SHA-256, or the first. Errors as of
        `load_model`.
    in_channels: if given, the first convolution is adapted to so many
    """
    wanted = known_model(model_type) if model_type else None
    state = read_checkpoint(path)
    known = _recognise(path, state, wanted)
    singles = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    config = known.config
    if in_channels is not None:
        config, singles = with_channels(config, singles, in_channels)
    with torch.device("meta"):  # nothing is drawn that the file replaces
        model = Sam(config)
    model.load_state_dict(singles, strict=True, assign=True)
    model.name, model.checkpoint = known.name, path
    model.settings, model.refines_boxes = own_settings(path), known.refines_boxes
    return model


def _file_and_row(
    name_or_path: str | Path | None, wanted: KnownModel | None, offline: bool, progress: bool
) -> tuple[Path, KnownModel | None]:
    """The file to load, downloaded if it is a known model's that is missing, and what it must hold.

    A `Path` is a file, even where it has a model's name.
    """
    if name_or_path is None:
        row = wanted or ZOO[DEFAULT]
        return _path_of(row, offline, progress), row
    if not isinstance(name_or_path, (str, os.PathLike)):
        what = "the path of a checkpoint or a model's name is wanted"
        raise TypeError(f"name_or_path: {what}, not {briefly(name_or_path)}")
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 - which takes unknown users as names
    named = find_known(name_or_path) if isinstance(name_or_path, str) else None
    if named is None or path.is_file():
        return path, wanted
    return _path_of(named, offline, progress), wanted or named


def _path_of(known: KnownModel, offline: bool, progress: bool) -> Path:
    if offline and not is_present(known):
        raise offline_error(known)
    return pull(known, progress=progress)


def at_size(config: SamConfig, size: int | tuple[int, int] | None, fixed: bool | None) -> SamConfig:
    """The same architecture for inputs of another size; the weights do not depend on it.

    size: of a square's side, or height and width, in pixels. Raises ConfigError where they are no
    multiples of what the encoder needs.
    """
    if fixed is not None:
        config = replace(config, fixed_input_size=fixed)
    if size is None:
        return config
    height, width = sides = size if isinstance(size, tuple) else (size, size)
    for given in sides:
        side = whole_number(given)
        if side is None:
            raise ConfigError("image size", f"{in_short(given)} is not a whole number")
        multiple = config.encoder.side_multiple
        if side < multiple or side % multiple:
            raise ConfigError("image size", f"{side} is not a multiple of {multiple} pixels")
    return replace(config, input_size=(int(height), int(width)))


def _recognise(path: Path, state: Mapping[str, Tensor], wanted: KnownModel | None) -> KnownModel:
    """The known model whose parameters `state` has, every one at its shape: `wanted`, if given."""
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    if wanted and not _misfits(found, _shapes(wanted.config)):
        return wanted
    # For its shapes a network is made; those of other encoders are asked for in errors only.
    likely = [row for row in ZOO.values() if f"{row.config.encoder.first_conv}.weight" in found]
    fitting = [row for row in likely if not _misfits(found, _shapes(row.config))]
    if wanted and fitting:
        remedy = f"give {wanted.name} weights, or leave the model type out"
        cause = f"holds {fitting[0].name}, but {wanted.name} was asked for"
        raise WeightsError(path, cause, remedy)
    if fitting:
        return next((row for row in fitting if is_file_of(row, path)), fitting[0])
    misfits = {row.name: _misfits(found, _shapes(row.config)) for row in ZOO.values()}
    nearest = wanted.name if wanted else min(misfits, key=lambda name: len(misfits[name]))
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
