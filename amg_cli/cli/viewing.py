"""What commands share that show a run in a browser."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.progress import progress
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.words import option_name, say
from amg_cli.core.errors import ImageError, OutputError
from amg_cli.core.interrupts import interrupted_with
from amg_cli.formats.table import FORMATS, format_of

if TYPE_CHECKING:
    from amg_cli.batch.viewing import Looked
    from amg_cli.core.mask import Mask
    from amg_cli.formats.result import Result
    from amg_cli.viewer.writing import About, Pictured, Unpictured

VIEW = "view"  # the folder in that of a run
PHOTO_PX = 2048

AS_MASKS = (
    "These are masks as they were written, without candidates to select from: sliders only take "
    "some away. Saved decisions have what is left, and this applies them:"
)


def check_viewable(values: Mapping[str, Any], formats: Sequence[str]) -> None:
    """Raises click's usage error where a run would leave nothing that a page can show."""
    if values["output"] == STDIO:
        raise click.UsageError("--view needs a folder to write to")
    read = [name for name in FORMATS if format_of(name).read is not None]
    if not set(formats) & set(read):
        raise click.UsageError(f"--view reads masks: give --format {' or '.join(read)} too")


def view_folder(source: Path) -> Path:
    """Where a view goes if no other place is given."""
    return (source if source.is_dir() else source.parent) / VIEW


def make_view(
    source: Path,
    output: Path,
    images: Path | None = None,
    against: Path | None = None,
    photo_px: int = PHOTO_PX,
    quiet: bool = False,
) -> Path:
    """Write the view of a run, in place of one that is there. -> the page

    Raises InputError where there is nothing to show, OutputError where it cannot be written, or
    something else is there.
    """
    from amg_cli.batch.commit import committed
    from amg_cli.batch.viewing import MASKS_ALONE, images_of, looked_at
    from amg_cli.batch.writing import cannot_write
    from amg_cli.viewer.writing import is_view, write_view

    if output.exists() and not is_view(output):
        raise OutputError(output, "is there, and is no view of amg", "give another `output`")
    looked = looked_at(source) if against is None else MASKS_ALONE  # compared are masks
    found = progress(images_of(source, looked, images), quiet)
    try:
        with committed(output, overwrite=True) as folder, interrupted_with("no view is made"):
            folder.mkdir()
            about = _about(source, images, looked, against, photo_px)
            write_view(found, _pictured(against), folder, about)
    except OSError as error:
        raise cannot_write(output, error) from error
    return output / "index.html"


def make_sheet(source: Path, target: Path, images: Path | None, count: int) -> Path:
    """Write a picture of a run's first images with their masks. -> it

    Errors as of `make_view`; ImageError where no photograph is to be had.
    """
    import itertools

    from amg_cli.batch.commit import committed
    from amg_cli.batch.viewing import images_of, looked_at
    from amg_cli.batch.writing import cannot_write
    from amg_cli.formats.pictures import save
    from amg_cli.viewer.pictures import thumbnail
    from amg_cli.viewer.sheet import sheet
    from amg_cli.viewer.writing import THUMBNAIL_PX

    looked, pictured = looked_at(source), _pictured(None)

    def pictures() -> Iterator[tuple[str, Any]]:
        """Those of the images that have their photograph."""
        for image in images_of(source, looked, images):
            result = getattr(pictured(image), "result", None)
            if result is not None and result.image_rgb is not None:
                small = thumbnail(result.image_rgb, result.masks, 2 * THUMBNAIL_PX)
                yield result.file_name, small

    shown = list(itertools.islice(pictures(), count))
    if not shown:
        raise ImageError(source, "no photograph of it is to be had", "give `images`, their folder")
    try:
        with committed(target, overwrite=True) as path:
            save(path, sheet(shown)[..., ::-1])
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    except ValueError as error:
        raise OutputError(target, str(error), "give a name that ends in .png or .jpg") from error
    return target


def _about(
    source: Path, images: Path | None, looked: Looked, against: Path | None, photo_px: int
) -> About:
    from amg_cli.core.config import GenerationConfig, settings_of_selecting
    from amg_cli.evaluate.compare import MATCH_AT
    from amg_cli.viewer.writing import About

    output = f"{os.fspath(source).rstrip(os.sep)}-selected"
    command = ["amg", "select", os.fspath(source), "--output", output]
    command += [] if images is None else ["--images", os.fspath(images)]
    default = GenerationConfig()
    note = None if looked.of_candidates else AS_MASKS
    if looked.changed:
        options = ", ".join(map(option_name, looked.changed))
        note = f"The run has {options}, which a page cannot repeat. {AS_MASKS}"
    return About(
        title=source.resolve().name,
        command=shlex.join(command),
        settings=looked.settings,
        defaults={name: getattr(default, name) for name in settings_of_selecting()},
        of_candidates=looked.of_candidates,
        own=looked.own,
        note=note,
        against=None if against is None else against.resolve().name,
        match_at=MATCH_AT[-1],
        photo_px=photo_px,
    )


def _pictured(
    against: Path | None,
) -> Callable[[Result | ImageError], Pictured | Unpictured]:
    """What becomes of an image for its picture. Errors as of `find_masks`."""
    from amg_cli.batch.convert import fault_of, with_pixels
    from amg_cli.formats.found import find_masks, masks_of
    from amg_cli.viewer.writing import Pictured, Unpictured

    others = None if against is None else find_masks(against)

    def pictured(image: Result | ImageError) -> Pictured | Unpictured:
        """With its pixels, where they can be read, and with the masks of the other run."""
        if isinstance(image, ImageError):
            return Unpictured(image.file_name or image.where, image)
        if fault := fault_of(image):
            say(fault)
            return Unpictured(image.file_name, fault)
        try:
            shown = with_pixels(image)
        except ImageError as error:
            say(error)
            shown = replace(image, image_rgb=None)
        if others is None:
            return Pictured(shown)
        found = masks_of(others, image.file_name)
        masks = [] if found is None else found.read()
        return Pictured(shown, masks, _alone(shown, masks))

    return pictured


def _alone(result: Result, others: Sequence[Mask]) -> tuple[int, int]:
    """How many masks only this run has, and only the other."""
    from amg_cli.evaluate.compare import compare

    found = compare(result.masks, others)
    (ours, theirs), both = found.counts, found.matched[-1]  # at the least of MATCH_AT
    return ours - both, theirs - both
