"""Options made from `GenerationConfig`, so that a setting is stated once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from amg_cli.batch.cloud.remote import is_url, scheme_of, without_secrets
from amg_cli.cli.words import option_name
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError, InputError, OutputError
from amg_cli.core.presets import PRESETS

READ_ONLY = ("http", "https", "zip", "tar")  # addresses of these


class UserPath(click.Path):
    """A path as people type it: `~` is the user's folder, and what is no path is said to be none.

    An empty one is a usage error: it comes of a variable that is not set, and would name the
    current folder. Raises InputError for an address.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The `Path` of an option's text."""
        if not value:
            self.fail("the path is empty", param, ctx)
        if value == "-":
            return Path(value)
        path = Path(os.path.expanduser(value))  # noqa: PTH111 - which takes unknown users as names
        if is_url(str(value)) and not path.exists():
            raise InputError(
                without_secrets(str(value)),
                "is an address, not a file",
                "download it and give its path",
            )
        return super().convert(path, param, ctx)


class InputPath(UserPath):
    """A path, or an address, which stays text; of a file here it is the path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The `Path` of an option's text, or the address."""
        if not isinstance(value, str) or not is_url(value) or os.path.lexists(value):
            return super().convert(value, param, ctx)
        if value.lower().startswith("file://"):
            from urllib.request import url2pathname  # which loads HTTP and TLS

            return super().convert(url2pathname(urlsplit(value).path), param, ctx)
        return value


class OutputPlace(InputPath):
    """The same of what can be written to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The `Path` of an option's text, or the address."""
        place = super().convert(value, param, ctx)
        if isinstance(place, str) and scheme_of(place) in READ_ONLY:
            cause = f"{scheme_of(place)}:// can only be read"
            raise OutputError(without_secrets(place), cause, "write to a bucket, or a folder")
        return place


PATH = UserPath(path_type=Path)
PLACE = OutputPlace(path_type=Path)


def with_options(
    options: Sequence[Callable[..., Any]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds options to a click command, in this order in its help."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        """The command with them."""
        for option in reversed(options):
            command = option(command)
        return command

    return add


def as_options(settings: Mapping[str, Any]) -> str:
    """Settings as they are written on a command line."""
    return " ".join(
        option_name(name) if value is True else f"{option_name(name)} {value}"
        for name, value in settings.items()
    )


_PRESET_OPTION = click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="A set of settings; one that is given beside it wins. "
    + " ".join(
        f"{name}: {preset.what_for} ({as_options(preset.settings)})."
        for name, preset in PRESETS.items()
    ),
)


def generation_options(
    command: Callable[..., Any], hidden: Sequence[str] = ()
) -> Callable[..., Any]:
    """Add an option for each setting of `GenerationConfig`, and for sets of them, to a command.

    hidden: settings that its help does not list
    """
    settings = [
        _option_of(setting, hidden=setting.name in hidden)
        for setting in dataclasses.fields(GenerationConfig)
    ]
    return with_options([_PRESET_OPTION, *settings])(command)


def some_generation_options(
    names: Sequence[str], defaults: Mapping[str, Any]
) -> list[Callable[..., Any]]:
    """An option for each of some settings. defaults: those that are not the settings' own"""
    fields = [each for each in dataclasses.fields(GenerationConfig) if each.name in names]
    return [_option_of(each, default=defaults.get(each.name, each.default)) for each in fields]


def _option_of(
    setting: dataclasses.Field[Any], hidden: bool = False, default: Any = None
) -> Callable[..., Any]:
    """The option of a setting. Without it there is no value, so that the default is its own.

    default: another one that its help is to name
    """
    about = setting.metadata
    default = setting.default if default is None else default
    how: dict[str, Any]
    if isinstance(default, bool):
        how, after = {"is_flag": True, "default": None}, ""
    elif about["choices"]:
        how, after = {"type": click.Choice(about["choices"])}, f" [default: {default}]"
    elif about["is_area"]:
        shown = default if isinstance(default, str) else f"{default:g}"
        how, after = {"type": str, "metavar": "AREA"}, f" [default: {shown}]"
    else:
        how, after = {"type": type(default)}, f" [default: {default:.4g}; {about['range']}]"
    return click.option(option_name(setting.name), help=about["help"] + after, hidden=hidden, **how)


def counting(own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model's own that are not given.

    None where `nms` is given, as its thresholds are for its own way of finding duplicates; or a
    preset, which has its own too.
    """
    if values["preset"] or values["nms"]:
        return {}
    return {name: value for name, value in own.items() if values[name] is None}


def generation_config(
    values: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> GenerationConfig:
    """The settings among a command's values; of those not given, which are None, the preset's.

    own: of the model, as of `counting`
    Raises click's usage error, naming the option.
    """
    names = [setting.name for setting in dataclasses.fields(GenerationConfig)]
    preset = PRESETS[values["preset"]].settings if values.get("preset") else {}
    given = {name: values[name] for name in names if values.get(name) is not None}
    try:
        return GenerationConfig(**{**(own or {}), **preset, **given})
    except ConfigError as error:
        raise click.BadParameter(error.cause, param_hint=option_name(error.where)) from error
