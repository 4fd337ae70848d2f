"""What commands share that write masks in formats, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.format_options import given_options
from amg_cli.cli.options import PATH
from amg_cli.cli.words import say
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import interrupted_with

if TYPE_CHECKING:
    from amg_cli.formats.result import Result

# fmt: off
OUTPUT_OPTION = click.option(
    "--output", type=PATH, required=True, metavar="DST",
    help="The folder to write to; made if it is not there.",
)
PLACE_OPTIONS = (
    click.option(
        "--images", type=PATH, metavar="DIR",
        help="The folder of the images, for formats that show them or lead to them. [default: "
        "where the run found them]",
    ),
    click.option(
        "--on-exists", type=click.Choice(["error", "overwrite"]), default="error",
        show_default=True, help="What to do with output that is there.",
    ),
)
# fmt: on


def write_as(
    results: Iterator[Result | ImageError], values: Mapping[str, Any], formats: Sequence[str]
) -> int:
    """Write the images' masks as the options say, and print each output's path. -> the exit code"""
    from amg_cli.batch.convert import Wanted, write_results

    failed: list[ImageError] = []

    def report(said: Path | ImageError) -> None:
        """Print an output's path, or say an error."""
        if isinstance(said, ImageError):
            say(said)
            failed.append(said)
        else:
            click.echo(bytes(said))

    wanted = Wanted(
        output=values["output"],
        formats=formats,
        options=given_options(values),
        images=values["images"],
        overwrite=values["on_exists"] == "overwrite",
    )
    with interrupted_with("what is whole is kept"):
        write_results(results, wanted, report)
    return ImageError.exit_code if failed else 0
