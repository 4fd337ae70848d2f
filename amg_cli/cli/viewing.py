"""What commands share that show a run in a browser."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.pictures import Pictures
from amg_cli.cli.progress import progress
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.words import option_name, warn
from amg_cli.core.errors import InputError, OutputError
from amg_cli.core.interrupts import interrupted_with
from amg_cli.formats.table import CANDIDATES, FORMATS, format_of

if TYPE_CHECKING:
    from amg_cli.batch.reading import Reading
    from amg_cli.batch.viewing import Looked
    from amg_cli.viewer.writing import About

VIEW = "view"  # the folder in that of a run
PHOTO_PX = 2048

AS_MASKS = (
    "These are masks as they were written, without candidates to select from: sliders only take "
    "some away. Saved decisions have what is left, and this applies them:"
)


@dataclass(frozen=True)
class Wanted:
    """How a run is to be shown.

    images:   the folder of its images, where they do not lie where the run found them
    against:  another run, to be shown beside it
    photo_px: the longest side of the photographs
    reading:  how images are read; None for as the run read them, as far as that is known
    """

    images: Path | None = None
    against: Path | None = None
    photo_px: int = PHOTO_PX
    reading: Reading | None = None
    quiet: bool = False


def check_viewable(values: Mapping[str, Any], formats: Sequence[str]) -> None:
    """Raises click's usage error where a run would leave nothing that a page can show."""
    if values["output"] == STDIO:
        raise click.UsageError("--view needs a folder to write to")
    read = [name for name in FORMATS if format_of(name).read is not None]
    if not set(formats) & {*read, CANDIDATES}:
        raise click.UsageError(f"--view reads masks: give --format {' or '.join(read)} too")


def view_folder(source: Path) -> Path:
    """Where a view goes if no other place is given."""
    return (source if source.is_dir() else source.parent) / VIEW


def make_view(source: Path, output: Path, wanted: Wanted) -> Path:
    """Write the view of a run, in place of one that is there. -> the page

    Raises InputError where there is nothing to show, or no other run; OutputError where it cannot
    be written, or something else is there.
    """
    from amg_cli.batch.commit import committed, recover
    from amg_cli.batch.viewing import images_of, looked_at
    from amg_cli.batch.writing import cannot_write
    from amg_cli.viewer.writing import is_view, write_view

    if output.exists() and not is_view(output):
        raise OutputError(output, "is there, and is no view of amg", "give another `output`")
    looked = looked_at(source, as_masks=wanted.against is not None)  # compared are masks
    pictures = Pictures.of(wanted, looked)
    found = progress(images_of(source, looked, wanted.images), wanted.quiet)
    recover([output.parent])
    try:
        with committed(output, overwrite=True) as folder, interrupted_with("no view is made"):
            folder.mkdir()
            write_view(found, pictures.pictured, folder, _about(source, looked, wanted))
    except OSError as error:
        raise cannot_write(output, error) from error
    for warning in pictures.warnings():
        warn(warning)
    return output / "index.html"


def make_sheet(source: Path, target: Path, wanted: Wanted, count: int) -> Path:
    """Write a picture of a run's first images with their masks. -> it

    Raises InputError where there is nothing to show, or no photograph; OutputError where it cannot
    be written, or would take the place of something else.
    """
    from amg_cli.batch.commit import committed
    from amg_cli.batch.viewing import images_of, looked_at
    from amg_cli.batch.writing import cannot_write
    from amg_cli.formats.pictures import save
    from amg_cli.viewer.sheet import sheet

    if target.is_dir():
        raise OutputError(target, "is a folder", "give `sheet` a file")
    looked = looked_at(source)
    pictures = Pictures.of(wanted, looked)
    found = pictures.thumbnails(images_of(source, looked, wanted.images), target)
    shown = list(itertools.islice(found, count))
    if not shown:
        raise InputError(source, "no photograph of it is to be had", "give `images`, their folder")
    try:
        with committed(target, overwrite=True) as path:
            save(path, sheet(shown)[..., ::-1])
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    return target


def _about(source: Path, looked: Looked, wanted: Wanted) -> About:
    from amg_cli.evaluate.compare import MATCH_AT
    from amg_cli.viewer.writing import About

    note = None if looked.of_candidates else AS_MASKS
    if looked.changed:
        options = ", ".join(map(option_name, looked.changed))
        note = f"The run has {options}, which a page cannot repeat. {AS_MASKS}"
    return About(
        title=source.resolve().name,
        command=_command(source, wanted.images),
        settings=looked.settings,
        of_candidates=looked.of_candidates,
        own=looked.own,
        note=note,
        against=None if wanted.against is None else wanted.against.resolve().name,
        match_at=MATCH_AT[-1],
        photo_px=wanted.photo_px,
    )


def _command(source: Path, images: Path | None) -> str:
    """What selects a run's masks anew, up to its settings."""
    beside = source if source.name not in ("", "..") else source.resolve()
    output = f"{os.fspath(beside).rstrip(os.sep)}-selected"
    command = ["amg", "select", os.fspath(source), "--output", output]
    return shlex.join(command + ([] if images is None else ["--images", os.fspath(images)]))
