"""`amg view OUT`: a page that shows a run, opened from the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from amg_cli.cli.model_options import QUIET_OPTION
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.viewing import PHOTO_PX, make_sheet, make_view, view_folder

EPILOG = """\b
OUT is the output folder of a run, or all else that amg convert reads. The page has all
images; of each its masks, and sliders for the thresholds, which select from candidates
where the run has them (amg --save-candidates). Masks that are marked wrong are saved as
a file that amg select --decisions applies.

\b
  amg view out
  amg view out --against other
  amg view out --sheet sheet.png
"""

# fmt: off
_OPTIONS = (
    click.option(
        "--output", type=PATH, metavar="DIR",
        help="The folder to write the page to, in place of a view that is there. "
        "[default: OUT/view]",
    ),
    click.option(
        "--images", type=PATH, metavar="DIR",
        help="The folder of the images. [default: where the run found them]",
    ),
    click.option(
        "--against", type=PATH, metavar="OTHER",
        help="Show the run beside another one: what both have, and what only one.",
    ),
    click.option(
        "--sheet", type=PATH, metavar="FILE",
        help="Instead of the page, write one picture (.png or .jpg) of the first images.",
    ),
    click.option(
        "--sheet-images", type=click.IntRange(min=1), default=24, show_default=True, metavar="N",
        help="How many images --sheet shows.",
    ),
    click.option(
        "--photo-size", type=click.IntRange(min=64), default=PHOTO_PX, show_default=True,
        metavar="PX", help="The longest side of the photographs that the page has.",
    ),
    QUIET_OPTION,
)
# fmt: on


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="OUT")
@with_options(_OPTIONS)
def view(source: Path, **values: Any) -> None:
    """Show a run in a browser, and review it."""
    output, images, against = values["output"], values["images"], values["against"]
    if values["sheet"] is not None:
        if output is not None or against is not None:
            raise click.UsageError("--sheet is instead of a page: without --output and --against")
        click.echo(bytes(make_sheet(source, values["sheet"], images, values["sheet_images"])))
        return
    how = {"photo_px": values["photo_size"], "quiet": values["quiet"]}
    click.echo(bytes(make_view(source, output or view_folder(source), images, against, **how)))
