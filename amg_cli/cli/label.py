"""`amg label OLD --output NEW --classes …`: names for the masks of an earlier run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from amg_cli.cli.converting import OUTPUT_OPTION, PLACE_OPTIONS, write_as
from amg_cli.cli.format_options import FORMATS_OPTION, HOW_OPTIONS, required_formats
from amg_cli.cli.naming_options import NAMING_OPTIONS, given_naming
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.run_options import PREVIEW_OPTION
from amg_cli.cli.words import warn

EPILOG = """\b
OLD is the output folder of a run, or one of its files; or a COCO data set of another
program. Its images are read again; what its masks were called before is replaced.

\b
  amg label out --output named --classes classes.txt --format coco
  amg label out --output wheels --text "a wheel" --format overlay
"""

# fmt: off
_OPTIONS = (
    OUTPUT_OPTION,
    FORMATS_OPTION,
    *NAMING_OPTIONS,
    *HOW_OPTIONS,
    *PLACE_OPTIONS,
    PREVIEW_OPTION,
    click.option("--offline", is_flag=True, help="Never download weights."),
    click.option(
        "--device", default="auto", show_default=True, metavar="NAME",
        help="auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N.",
    ),
)
# fmt: on


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="OLD")
@with_options(_OPTIONS)
@click.pass_context
def label(ctx: click.Context, /, source: Path, **values: Any) -> None:
    """Names for the masks of an earlier run, without the model that made them."""
    formats = required_formats(values)
    naming = given_naming(values, formats)
    if naming is None:
        raise click.UsageError("Missing option '--classes' or '--text'.")
    # These load what --help and usage errors must not wait for.
    from amg_cli.batch.convert import results_of
    from amg_cli.batch.live_preview import LivePreview, check_preview
    from amg_cli.batch.named import namer_on, with_names
    from amg_cli.batch.reading import Reading
    from amg_cli.models.devices import find_device

    if values["preview"] is not None:
        check_preview(values["preview"], folders=[values["images"]] if values["images"] else [])
    device = find_device(values["device"])
    results = results_of(source, values["images"])
    named = with_names(
        results, naming.config, partial(namer_on, device, naming.encoder, naming.config)
    )
    preview = LivePreview(values["preview"], Reading(), warn)
    ctx.exit(write_as(preview.following(named), values, formats))
