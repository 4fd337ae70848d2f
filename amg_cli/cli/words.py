"""What the commands say on stderr, with settings named as the options they are there."""

from __future__ import annotations

import re

import click

from amg_cli.core.errors import AmgError, one_line


def say(text: object) -> None:
    """A line on stderr. Of an AmgError, the settings that it names as options."""
    line = in_options(text) if isinstance(text, AmgError) else one_line(text)
    click.echo(f"amg: {line}", err=True)


def warn(warning: AmgError) -> None:
    """The line of something that may be wrong."""
    click.echo(f"amg: warning: {in_options(warning)}", err=True)


def in_options(error: AmgError) -> str:
    """An error's line in which a setting such as `points_per_batch` is --points-per-batch."""
    cause, remedy = (
        re.sub(r"`([a-z_]+)`", lambda setting: option_name(setting[1]), part)
        for part in (error.cause, error.remedy)
    )
    return f"{error.where}: {cause}" + (f"; {remedy}" if remedy else "")


def option_name(setting: str) -> str:
    """`points_per_side` -> `--points-per-side`."""
    return "--" + setting.replace("_", "-")
