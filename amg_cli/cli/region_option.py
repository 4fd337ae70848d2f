"""`--roi`: the part of an image that is looked at, a box or a picture of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.core.errors import ConfigError, InputError, reason

if TYPE_CHECKING:
    from amg_cli.core.region import Region

_SIDE = r"\s*[+-]?[0-9.]+%?\s*"
_BOX = re.compile(f"{_SIDE}(?:,{_SIDE}){{3}}")

ROI_OPTION = click.option(
    "--roi", metavar="BOX|FILE",
    help="Only points in this part of each image: x0,y0,x1,y1 in pixels or shares such as 10%, or "
    "a picture of the image's size, not black where it is. Masks may reach out of it.",
)  # fmt: skip


def given_region(values: Mapping[str, Any]) -> Region | None:
    """The region of the option. Raises click's usage error for a box that is none, InputError for a
    file that is no picture.
    """
    given = values["roi"]
    if given is None:
        return None
    from amg_cli.core.region import Region

    if not _BOX.fullmatch(given):
        return Region(mask=_picture(Path(given).expanduser()))
    try:
        sides = [side.strip() for side in given.split(",")]
        return Region.of([side if side.endswith("%") else float(side) for side in sides])
    except ConfigError as error:
        raise click.BadParameter(error.cause, param_hint="--roi") from error
    except ValueError as error:
        raise click.BadParameter(f"{given} is no box", param_hint="--roi") from error


def recorded_region(values: Mapping[str, Any]) -> str | None:
    """What a run's record says of it: the box as it is given, or the SHA-256 of the picture."""
    given = values["roi"]
    if given is None or _BOX.fullmatch(given):
        return None if given is None else re.sub(r"\s", "", given)
    from amg_cli.weights.cache import sha256_of

    try:
        return sha256_of(Path(given).expanduser())
    except OSError as error:
        raise _no_picture(given, reason(error)) from error


def _picture(path: Path) -> Any:
    """(H, W) bool: where a picture is not black, of whatever kind it is; alpha does not count."""
    import cv2
    import numpy as np

    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    except OSError as error:
        raise _no_picture(path, reason(error)) from error
    if pixels is None:
        raise _no_picture(path, "no picture that can be read")
    return pixels != 0 if pixels.ndim == 2 else (pixels[..., :3] != 0).any(axis=2)


def _no_picture(path: object, cause: str) -> InputError:
    return InputError(path, cause, "give `roi` a box x0,y0,x1,y1, or a picture of the region")
