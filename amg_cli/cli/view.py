"""`amg view OUT`: a page that shows a run, opened from the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from amg_cli.cli.model_options import QUIET_OPTION
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.run_options import PictureFile
from amg_cli.cli.viewing import PHOTO_PX, Wanted, make_sheet, make_view, view_folder
from amg_cli.cli.words import option_name

SHEET_IMAGES = 24

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
        help="Show the run beside another one's output folder: what both have, and what only one.",
    ),
    click.option(
        "--sheet", type=PictureFile(path_type=Path), metavar="FILE",
        help="Instead of the page, write one picture, .jpg or .png, of the first images.",
    ),
    click.option(
        "--sheet-images", type=click.IntRange(min=1), metavar="N",
        help=f"How many images --sheet shows. [default: {SHEET_IMAGES}]",
    ),
    click.option(
        "--photo-size", type=click.IntRange(min=64), metavar="PX",
        help=f"The longest side of the photographs that the page has. [default: {PHOTO_PX}]",
    ),
    QUIET_OPTION,
)
# fmt: on


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="OUT")
@with_options(_OPTIONS)
def view(source: Path, **values: Any) -> None:
    """Show a run in a browser, and review it."""
    of_page, of_sheet = ("output", "against", "photo_size"), ("sheet_images",)
    for name in of_page if values["sheet"] is not None else of_sheet:
        if values[name] is not None:
            cause = "goes with --sheet" if name in of_sheet else "does not go with --sheet"
            raise click.UsageError(f"{option_name(name)} {cause}")
    wanted = Wanted(
        images=values["images"],
        against=values["against"],
        photo_px=values["photo_size"] or PHOTO_PX,
        quiet=values["quiet"],
    )
    if values["sheet"] is None:
        path = make_view(source, values["output"] or view_folder(source), wanted)
    else:
        count = values["sheet_images"] or SHEET_IMAGES
        path = make_sheet(source, values["sheet"], wanted, count)
    click.echo(bytes(path))
