"""What a review decided of a run's masks: which are dropped. A JSON file, of a page of `amg view`.

    {"amg_decisions": 1, "settings": {"pred_iou_thresh": 0.9, "nms": "mask", "min_area": 100, …},
     "images": [{"file_name": "sub/a.jpg", "masks": 45, "drop": [3, 7]}, …]}

    amg_decisions: the version of all this
    settings: those that the masks were selected by from the run's candidates, of `GenerationConfig`
              but for those of proposing; what is not named is at its default. null or missing:
              the masks are those that the run has written
    images:   those that were decided on; all others keep every mask
    file_name: as of `Result`, so that it names one image of the run
    masks:    how many the image had in the review; missing: that is not compared
    drop:     the numbers of the masks that go, as `Result.numbered` gives them: of masks that were
              selected their places, from 0, the best

A name that is none of these is refused: in a file by hand it may be `drop`, misspelt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amg_cli.core.config import (
    GenerationConfig,
    settings_of_proposing,
    settings_of_selecting,
    whole_number,
)
from amg_cli.core.errors import ConfigError, InputError, briefly, in_short, reason

VERSION = 1
AGAIN = "save it again from a page of amg view"
_KEYS = ("amg_decisions", "settings", "images")
_KEYS_OF_IMAGE = ("file_name", "masks", "drop")


@dataclass(frozen=True, slots=True)
class ImageDecisions:
    """What was decided of one image; as in the file. masks: None where that is not known."""

    file_name: str
    drop: frozenset[int]
    masks: int | None = None


@dataclass(frozen=True)
class Decisions:
    """What was decided of a run. settings: None where the masks are those that it has written."""

    settings: GenerationConfig | None
    images: tuple[ImageDecisions, ...]


def read(path: Path) -> Decisions:
    """The decisions of a file. Raises InputError where it cannot be read, and as `parse`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, reason(error), "check the path") from error
    return parse(content, path)


def parse(text: str | bytes, where: object) -> Decisions:
    """The decisions of a file's content. where: what it is from, for errors

    Raises InputError where anything in it is wrong, which names it.
    """
    try:
        values = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise InputError(where, f"is not UTF-8, at byte {error.start}", AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"is not JSON: {error}", AGAIN) from error
    version = whole_number(values.get(_KEYS[0])) if isinstance(values, dict) else None
    if version is None or version < 1:
        raise InputError(where, "no decisions of amg", AGAIN)
    if version > VERSION:
        raise InputError(where, "of a newer amg", "use that")
    try:
        _check_known(values, _KEYS)
        return Decisions(_settings(values.get("settings")), _images(values.get("images")))
    except ValueError as error:
        raise InputError(where, str(error), AGAIN) from error


def text_of(decisions: Decisions) -> str:
    """The content of a file, in ASCII, which `parse` gives the same decisions for."""
    config = decisions.settings
    values = {
        "amg_decisions": VERSION,
        "settings": config and {name: getattr(config, name) for name in settings_of_selecting()},
        "images": [_values_of(image) for image in decisions.images],
    }
    return json.dumps(values) + "\n"


def _values_of(image: ImageDecisions) -> dict[str, Any]:
    values: dict[str, Any] = {"file_name": image.file_name}
    if image.masks is not None:
        values["masks"] = image.masks
    return values | {"drop": sorted(image.drop)}


def _settings(given: object) -> GenerationConfig | None:
    """Raises ValueError where they are none, or the candidates of a run cannot be selected by."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ValueError(f"settings: an object or null is wanted, not {briefly(given)}")
    for name in given:
        if name in settings_of_proposing():
            raise ValueError(f"settings: {name} cannot be changed in candidates")
        if name not in settings_of_selecting():
            raise ValueError(f"settings: {in_short(name)} is not known")
    try:
        return GenerationConfig(**given)
    except ConfigError as error:
        # Here they are names in a file: what is between backticks would be said as an option.
        raise ValueError(f"settings: {error.where} {error.cause}".replace("`", "")) from error


def _images(given: object) -> tuple[ImageDecisions, ...]:
    """Raises ValueError where they are none, or two are one."""
    if not isinstance(given, list):
        raise ValueError(f"images: a list is wanted, not {briefly(given)}")
    images: dict[str, ImageDecisions] = {}
    for place, values in enumerate(given):
        image = _image(f"images[{place}]", values)
        if image.file_name in images:
            raise ValueError(f"{image.file_name} is in it twice")
        images[image.file_name] = image
    return tuple(images.values())


def _image(where: str, values: object) -> ImageDecisions:
    """where: its place in the file, as long as its name is not known. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: an object is wanted, not {briefly(values)}")
    name = values.get("file_name")
    if not isinstance(name, str):
        raise ValueError(f"{where}: file_name: text is wanted, not {briefly(name)}")
    try:
        _check_known(values, _KEYS_OF_IMAGE)
        drop = values.get("drop")
        if not isinstance(drop, list):
            raise ValueError(f"drop: a list is wanted, not {briefly(drop)}")
        numbers = frozenset(_whole("drop", number) for number in drop)
        masks = _whole("masks", values["masks"]) if "masks" in values else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return ImageDecisions(name, numbers, masks)


def _whole(name: str, given: object) -> int:
    number = whole_number(given)
    if number is None:
        raise ValueError(f"{name}: whole numbers are wanted, not {briefly(given)}")
    return number


def _check_known(values: Mapping[str, object], known: Iterable[str]) -> None:
    """Raises ValueError for a name that none reads, such as a wrong one in a file by hand."""
    if unknown := sorted(values.keys() - set(known)):
        raise ValueError(f"{in_short(unknown[0])} is not known; known are {', '.join(known)}")
