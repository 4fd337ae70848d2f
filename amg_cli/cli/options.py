"""Options made from `GenerationConfig`, so that a setting is stated once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import click

from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError


def generation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each setting of `GenerationConfig` to a click command."""
    for setting in reversed(dataclasses.fields(GenerationConfig)):
        default = setting.default
        told = f"default: {default:.4g}; {setting.metadata['range']}"
        help_line = f"{setting.metadata['help']} [{told}]"
        option = click.option(
            option_name(setting.name), type=type(default), default=default, help=help_line
        )
        command = option(command)
    return command


def generation_config(values: Mapping[str, Any]) -> GenerationConfig:
    """The settings among a command's values. Raises click's usage error, naming the option."""
    names = [setting.name for setting in dataclasses.fields(GenerationConfig)]
    try:
        return GenerationConfig(**{name: values[name] for name in names})
    except ConfigError as error:
        raise click.BadParameter(error.cause, param_hint=option_name(error.where)) from error


def option_name(setting: str) -> str:
    """`points_per_side` -> `--points-per-side`."""
    return "--" + setting.replace("_", "-")
