"""What the commands say on stderr, with settings named as the options they are there.

A line of text each, or, for programs, a line of JSON: `level` is info, warning or error; `message`
is the text; `where`, `cause` and `remedy` are its parts, if it is about a file or an option.
"""

from __future__ import annotations

import json
import re
from typing import Literal

import click

from amg_cli.core.errors import AmgError, one_line

LogFormat = Literal["text", "json"]


class _State:
    """Of the process, as stderr is."""

    log_format: LogFormat = "text"


def log_as(log_format: LogFormat) -> None:
    """From now on, say in this format what is said."""
    _State.log_format = log_format


def say(text: object, **facts: object) -> None:
    """A line on stderr. Of an AmgError, the settings that it names as options.

    facts: what JSON has besides
    """
    level = "error" if isinstance(text, AmgError) else "info"
    _write(level, text, facts)


def warn(warning: AmgError) -> None:
    """The line of something that may be wrong."""
    _write("warning", warning, {})


def in_options(error: AmgError) -> str:
    """An error's line in which a setting such as `points_per_batch` is --points-per-batch."""
    cause, remedy = map(_named, (error.cause, error.remedy))
    return f"{error.where}: {cause}" + (f"; {remedy}" if remedy else "")


def option_name(setting: str) -> str:
    """`points_per_side` -> `--points-per-side`."""
    return "--" + setting.replace("_", "-")


def _write(level: str, text: object, facts: dict[str, object]) -> None:
    message = in_options(text) if isinstance(text, AmgError) else one_line(text)
    if _State.log_format == "text":
        prefix = "warning: " if level == "warning" else ""
        click.echo(f"amg: {prefix}{message}", err=True)
        return
    values: dict[str, object] = {"level": level, "message": message}
    if isinstance(text, AmgError):
        parts = {"cause": _named(text.cause), "remedy": _named(text.remedy)}
        values |= {"where": text.where, **parts}
    click.echo(json.dumps(values | facts), err=True)


def _named(part: str) -> str:
    return re.sub(r"`([a-z0-9_]+)`", lambda setting: option_name(setting[1]), part)
