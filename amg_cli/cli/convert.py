"""`amg convert SRC --output DST --format NAME`: masks from one format into others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from amg_cli.cli.converting import OUTPUT_OPTION, PLACE_OPTIONS, write_as
from amg_cli.cli.format_options import FORMATS_OPTION, HOW_OPTIONS, required_formats
from amg_cli.cli.options import PATH, with_options

EPILOG = """\b
SRC is the output folder of a run, or one of its files; or a COCO data set of another
program. Read are png, rle, sa1b, coco, ndjson and parquet.

\b
  amg convert out --output yolo --format yolo --polygon-tolerance 1
  amg convert instances.json --output out --format overlay --images photos
"""

# fmt: off
_OPTIONS = (
    OUTPUT_OPTION,
    FORMATS_OPTION,
    *HOW_OPTIONS,
    *PLACE_OPTIONS,
)
# fmt: on


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="SRC")
@with_options(_OPTIONS)
@click.pass_context
def convert(ctx: click.Context, /, source: Path, **values: Any) -> None:
    """Masks in other formats, without the model, and mostly without the images."""
    formats = required_formats(values)
    from amg_cli.batch.convert import results_of

    ctx.exit(write_as(results_of(source, values["images"]), values, formats))
