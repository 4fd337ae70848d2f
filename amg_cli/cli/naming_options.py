"""The options that give masks names, and what they ask for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.words import option_name
from amg_cli.core.errors import ConfigError, InputError
from amg_cli.core.naming import BACKGROUNDS, NamingConfig, settings_of_naming
from amg_cli.formats.class_names import WANTED, parted, read_class_names
from amg_cli.formats.table import CANDIDATES, FORMATS
from amg_cli.weights.text_image import ENCODER, WEIGHTS, EncoderSource

if TYPE_CHECKING:
    from amg_cli.batch.image_tasks import Task
    from amg_cli.batch.named import Named

NAMELESS = ("png", "rle", "cutout", "overlay", CANDIDATES)  # formats without categories
DEFAULTS = settings_of_naming()


class ClassesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`classes.txt`, a file with a name a line, or `cat,dog`."""

    name = "classes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The names of an option's text. Raises InputError for a file that has none."""
        if not isinstance(value, str):
            return value
        names = parted(value, ",")
        path = Path(os.path.expanduser(value))  # noqa: PTH111 - which takes unknown users as names
        if not names:
            self.fail(f"there is no name in {value!r}; {WANTED}", param, ctx)
        is_file = os.path.exists(path)  # noqa: PTH110 - a long list is no path, nor an error
        if is_file:
            names = read_class_names(path)
        elif len(names) == 1 and (path.suffix or os.sep in value):
            raise InputError(value, "no such file", WANTED)
        if len(names) == 1:
            what = "has one name" if is_file else "is no file, and one name"
            cause = f"{value!r} {what}, which alone would be every mask's"
            self.fail(f"{cause}; give two or more, or --text", param, ctx)
        return names


# fmt: off
NAMING_OPTIONS = (
    click.option(
        "--classes", type=ClassesType(), metavar="FILE|LIST",
        help="Give each mask its likeliest category of these, with a probability: a file with a "
        "name a line, or names parted by commas.",
    ),
    click.option(
        "--text", "texts", multiple=True, metavar="TEXT",
        help="Keep only masks that match this, such as \"a wheel\", best first. Can be given "
        "several times.",
    ),
    click.option(
        "--unknown-thresh", type=click.FloatRange(0, 1),
        help="Call a mask unknown whose category has a lower probability. "
        f"[default: {DEFAULTS['unknown_thresh']:g}, none]",
    ),
    click.option(
        "--text-thresh", type=click.FloatRange(0, 1),
        help="Probability of --text, against phrases that anything is like, that a mask needs. "
        f"[default: {DEFAULTS['text_thresh']:g}]",
    ),
    click.option(
        "--name-background", type=click.Choice(BACKGROUNDS),
        help="What becomes of what is not the mask's in the picture by which it is named. "
        f"[default: {DEFAULTS['background']}]",
    ),
    click.option(
        "--text-encoder", metavar="NAME",
        help="What names: an architecture of open_clip (pip install 'amg-cli[text]'), or "
        "MODULE:FUNCTION of your own, which gives a TextImageEncoder. "
        f"[default: {ENCODER}]",
    ),
    click.option(
        "--text-weights", metavar="TAG|FILE",
        help="Its weights: a tag of open_clip's, downloaded once, or a file. "
        f"[default: {WEIGHTS} for {ENCODER}]",
    ),
)
# fmt: on
_GO_WITH = {
    "unknown_thresh": ("classes",),
    "text_thresh": ("texts",),
    "name_background": ("classes", "texts"),
    "text_encoder": ("classes", "texts"),
    "text_weights": ("classes", "texts"),
}
_WORDS = {"classes": "--classes", "texts": "--text"}


class Naming:
    """What the options ask for: how masks are named, and by what."""

    def __init__(self, config: NamingConfig, encoder: EncoderSource) -> None:
        self.config = config
        self.encoder = encoder

    def recorded(self) -> dict[str, Any]:
        """What of it decides the names, in types that JSON has, by its option."""
        config = self.config
        return {
            "classes": list(config.classes) or None,
            "text": list(config.texts) or None,
            "unknown_thresh": config.unknown_thresh if config.classes else None,
            "text_thresh": config.text_thresh if config.texts else None,
            "name_background": config.background,
            **self.encoder.recorded(),
            "categories": list(config.categories),
        }

    def task(self, make: Callable[[], Task]) -> Named:
        """A task whose masks are named. The encoder is loaded here, so that workers have it."""
        from amg_cli.batch.named import Named, namer_of

        namer_of(self.encoder, self.config)
        return Named(make(), self.config, self.encoder)


NOT_NAMED = {"classes": None, "text": None}  # as `Naming.recorded`


def given_naming(values: Mapping[str, Any], formats: Sequence[str]) -> Naming | None:
    """What a command's values ask for; None without names.

    formats: what masks are written as
    Raises click's usage error for options that do not go together, or for formats without names;
    WeightsError where the encoder cannot be had.
    """
    for name, others in _GO_WITH.items():
        if values[name] is not None and not any(values[other] for other in others):
            wanted = " or ".join(_WORDS[other] for other in others)
            raise click.UsageError(f"{option_name(name)} goes with {wanted}")
    if not values["classes"] and not values["texts"]:
        return None
    if values["classes"] and values["texts"]:
        raise click.UsageError("--classes names all masks and --text keeps some: give one of them")
    if values["classes"] and set(formats) <= set(NAMELESS):
        named = [name for name in FORMATS if name not in NAMELESS]
        have = " and ".join(name for name in formats if name != CANDIDATES)
        remedy = f"give --format {', '.join(named)}"
        raise click.UsageError(f"{have} cannot hold the names of --classes; {remedy}")
    naming = Naming(_config(values), _source(values))
    naming.encoder.check()
    return naming


def _config(values: Mapping[str, Any]) -> NamingConfig:
    given = {
        "classes": values["classes"] or (),
        "texts": values["texts"],
        "unknown_thresh": values["unknown_thresh"],
        "text_thresh": values["text_thresh"],
        "background": values["name_background"],
    }
    try:
        return NamingConfig(**{name: value for name, value in given.items() if value is not None})
    except ConfigError as error:
        hint = _WORDS.get(error.where, option_name(error.where))
        raise click.BadParameter(error.cause, param_hint=hint) from error


def _source(values: Mapping[str, Any]) -> EncoderSource:
    weights = values["text_weights"]
    return EncoderSource(
        values["text_encoder"] or ENCODER,
        weights and os.path.expanduser(weights),  # noqa: PTH111 - it may be no path
        offline=values["offline"],
        progress=not values.get("quiet") and sys.stderr.isatty(),
    )
