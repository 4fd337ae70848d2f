"""Masks that a run has written: which images they are of, and in which format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import cv2

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError, reason
from amg_cli.core.mask import Mask
from amg_cli.formats.format import ImageFormat, RunFormat
from amg_cli.formats.result import Result
from amg_cli.formats.table import FORMATS, image_formats, run_formats

_MALFORMED = (OSError, ValueError, TypeError, LookupError, AttributeError, cv2.error)


@dataclass(frozen=True)
class Found:
    """The masks of one image on the disk, and what reads them."""

    path: Path
    reader: Callable[[], Sequence[Mask]]

    def read(self) -> list[Mask]:
        """The masks, best first. Raises InputError where they are damaged or of another kind."""
        try:
            masks = list(self.reader())
            for mask in masks:
                rle_codec.check(mask.rle)
        except _MALFORMED as error:
            raise _damaged(self.path, error) from error
        return masks


def find_masks(folder: Path) -> dict[str, Found]:
    """All masks under `folder`, by the image's name: the path inside it, without the suffix.

    Each format says what is its own; other files, and hidden folders, are passed over. Files of a
    whole run count where no image has masks of its own.
    Raises InputError where there is no such folder, or nothing in it, or it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "give a run's `output`")
    found = masks_of_images(folder) or _in_run_file_of(folder)
    if not found:
        raise nothing_in(folder)
    return found


def nothing_in(folder: Path) -> InputError:
    """The error for a folder without masks."""
    return InputError(folder, "no masks of amg in it", "give a run's `output`")


def masks_of_images(folder: Path) -> dict[str, Found]:
    """As `find_masks`, but for files of a whole run; none where no image has masks of its own."""
    found: dict[str, Found] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        try:
            found |= _masks_in(Path(place), files, folder)
        except OSError as error:
            raise InputError(error.filename or place, reason(error), "check its rights") from error
    return found


def image_masks_in(path: Path) -> Found | None:
    """The masks of an image in a file or folder of its own; None for any other."""
    for format_ in image_formats(FORMATS):
        if path.name.endswith(format_.suffix) and _is_of(format_, path) and format_.read:
            return Found(path, partial(format_.read, path))
    return None


def run_format_of(path: Path) -> RunFormat | None:
    """The format of a file of a whole run; None for any other file. Raises OSError."""
    return next((format_ for format_ in run_formats(FORMATS) if _is_of(format_, path)), None)


def masks_in_run_file(path: Path, format_: RunFormat) -> dict[str, Found]:
    """The masks of each image in a file of a whole run, by the image's name.

    They are held in memory. Raises InputError for a file that is damaged.
    """
    results = results_in(path, format_)
    return {result.name: Found(path, partial(tuple, result.masks)) for result in results}


def results_in(path: Path, format_: RunFormat) -> Iterator[Result]:
    """The images of a file of a whole run. Raises InputError for one that is damaged."""
    if format_.read is None:
        raise InputError(path, "its format is only written", "give a run's coco or ndjson")
    format_.check_installed(path)
    try:
        yield from format_.read(path)
    except _MALFORMED as error:
        raise _damaged(path, error) from error


def masks_of(found: dict[str, Found], file_name: str) -> Found | None:
    """Those of the image `file_name`, which a run names without its suffix, or in a clash with.

    A run on a single folder does not know the folders that `file_name` may name.
    """
    name = PurePath(file_name)
    keys = [name.as_posix(), name.with_suffix("").as_posix(), name.name, name.stem]
    return next((found[key] for key in keys if key in found), None)


def _masks_in(place: Path, files: Sequence[str], folder: Path) -> dict[str, Found]:
    """Those of one folder, which is an image's own, or has files of images."""
    name = place.relative_to(folder).as_posix()
    for format_ in image_formats(FORMATS):
        if not format_.suffix and _is_of(format_, place) and format_.read:
            return {name: Found(place, partial(format_.read, place))}
    found: dict[str, Found] = {}
    for format_ in image_formats(FORMATS):
        if format_.suffix:
            found |= dict(_files_of(format_, place, files, folder))
    return found


def _files_of(
    format_: ImageFormat, place: Path, names: Sequence[str], folder: Path
) -> Iterator[tuple[str, Found]]:
    """The files of one format among those in `place`, by the image's name."""
    for path in (place / name for name in sorted(names) if name.endswith(format_.suffix)):
        if _is_of(format_, path) and format_.read:
            name = path.relative_to(folder).as_posix().removesuffix(format_.suffix)
            yield name.removeprefix(f"{format_.folder}/"), Found(path, partial(format_.read, path))


def _in_run_file_of(folder: Path) -> dict[str, Found]:
    """The masks of the run that has written its files to `folder`."""
    for format_ in run_formats(FORMATS):
        path = folder / format_.file_name
        if _is_of(format_, path):
            return masks_in_run_file(path, format_)
    return {}


def _is_of(format_: ImageFormat | RunFormat, path: Path) -> bool:
    """Whether what is there is of a format that is read back."""
    return format_.is_own is not None and format_.is_own(path)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(path, f"no masks of amg: {error or repr(error)}", "run amg again")
