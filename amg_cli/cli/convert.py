"""`amg convert SRC --output DST --format NAME`: masks from one format into others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from amg_cli.cli.format_options import HOW_OPTIONS, check_format_options, given_options
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.words import say
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import interrupted_with
from amg_cli.formats.table import FORMATS

EPILOG = """\b
SRC is the output folder of a run, or one of its files; or a COCO data set of another
program. Read are png, rle, sa1b, coco, ndjson and parquet.

\b
  amg convert out --output yolo --format yolo --polygon-tolerance 1
  amg convert instances.json --output out --format overlay --images photos
"""

# fmt: off
_OPTIONS = (
    click.option(
        "--output", type=PATH, required=True, metavar="DST",
        help="The folder to write to; made if it is not there.",
    ),
    click.option(
        "--format", "formats", type=click.Choice(FORMATS), multiple=True, metavar="NAME",
        help=f"What to write: {', '.join(FORMATS)}. Can be given several times.  [required]",
    ),
    *HOW_OPTIONS,
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


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="SRC")
@with_options(_OPTIONS)
@click.pass_context
def convert(ctx: click.Context, /, source: Path, **values: Any) -> None:
    """Masks in other formats, without the model, and mostly without the images."""
    if not values["formats"]:
        raise click.UsageError("Missing option '--format'.")
    formats = list(dict.fromkeys(values["formats"]))
    check_format_options(values, formats)
    from amg_cli.batch.convert import Wanted
    from amg_cli.batch.convert import convert as convert_masks

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
        convert_masks(source, wanted, report)
    ctx.exit(ImageError.exit_code if failed else 0)
