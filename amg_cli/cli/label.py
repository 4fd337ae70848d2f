"""`amg label OLD --output NEW --classes …`: names for the masks of an earlier run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.converting import OUTPUT_OPTION, PLACE_OPTIONS, write_as
from amg_cli.cli.format_options import FORMATS_OPTION, HOW_OPTIONS, check_format_options
from amg_cli.cli.naming_options import NAMING_OPTIONS, given_naming
from amg_cli.cli.options import PATH, with_options

if TYPE_CHECKING:
    import torch

    from amg_cli.cli.naming_options import Naming
    from amg_cli.tasks.names import Namer

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
    if not values["formats"]:
        raise click.UsageError("Missing option '--format'.")
    formats = list(dict.fromkeys(values["formats"]))
    check_format_options(values, formats)
    naming = given_naming(values, formats)
    if naming is None:
        raise click.UsageError("Missing option '--classes' or '--text'.")
    # These load what --help and usage errors must not wait for.
    from amg_cli.batch.convert import results_of
    from amg_cli.batch.named import with_names
    from amg_cli.models.devices import find_device

    device = find_device(values["device"])
    results = results_of(source, values["images"])
    named = with_names(results, naming.config, partial(_namer, naming, device))
    ctx.exit(write_as(named, values, formats))


def _namer(naming: Naming, device: torch.device) -> Namer:
    from amg_cli.batch.named import namer_of
    from amg_cli.weights.text_image import on_device

    namer = namer_of(naming.encoder, naming.config)
    on_device(namer.encoder, device)
    return namer
