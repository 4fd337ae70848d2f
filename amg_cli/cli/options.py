"""Options made from `GenerationConfig`, so that a setting is stated once."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from amg_cli.cli.words import option_name
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError, InputError


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
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(value)) and not path.exists():
            raise InputError(value, "is an address, not a file", "download it and give its path")
        return super().convert(path, param, ctx)


PATH = UserPath(path_type=Path)


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


def generation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each setting of `GenerationConfig` to a click command."""
    return with_options([*map(_option_of, dataclasses.fields(GenerationConfig))])(command)


def _option_of(setting: dataclasses.Field[Any]) -> Callable[..., Any]:
    """The option of a setting. Without it there is no value, so that the default is its own."""
    name, default, about = option_name(setting.name), setting.default, setting.metadata
    if isinstance(default, bool):
        return click.option(name, is_flag=True, default=None, help=about["help"])
    if about["choices"]:
        help_line = f"{about['help']} [default: {default}]"
        return click.option(name, type=click.Choice(about["choices"]), help=help_line)
    if about["is_area"]:
        shown = default if isinstance(default, str) else f"{default:g}"
        return click.option(
            name, type=str, metavar="AREA", help=f"{about['help']} [default: {shown}]"
        )
    help_line = f"{about['help']} [default: {default:.4g}; {about['range']}]"
    return click.option(name, type=type(default), help=help_line)


def generation_config(values: Mapping[str, Any]) -> GenerationConfig:
    """The settings among a command's values; those not given, which are None, have their defaults.

    Raises click's usage error, naming the option.
    """
    names = [setting.name for setting in dataclasses.fields(GenerationConfig)]
    try:
        return GenerationConfig(**{n: values[n] for n in names if values[n] is not None})
    except ConfigError as error:
        raise click.BadParameter(error.cause, param_hint=option_name(error.where)) from error
