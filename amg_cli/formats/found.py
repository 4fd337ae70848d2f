"""Masks that a run has written: which images they are of, and in which format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import cv2

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError, reason
from amg_cli.core.mask import Mask
from amg_cli.formats import reference_png, reference_rle
from amg_cli.formats.format import Format


@dataclass(frozen=True)
class Found:
    """The masks of one image on the disk."""

    path: Path
    format: Format

    def read(self) -> list[Mask]:
        """The masks, best first. Raises InputError where they are damaged or of another kind."""
        try:
            masks = self.format.read(self.path)
            for mask in masks:
                rle_codec.check(mask.rle)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, cv2.error) as error:
            cause = f"no masks of amg: {error or repr(error)}"
            raise InputError(self.path, cause, "run amg again") from error
        return masks


def find_masks(folder: Path) -> dict[str, Found]:
    """All masks under `folder`, by the image's name: the path inside it, without the suffix.

    Each format says what is its own; other files, and hidden folders, are passed over.
    Raises InputError where there is no such folder, or nothing in it, or it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "give a run's `output`")
    found: dict[str, Found] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        path = Path(place)
        try:
            if reference_png.is_own(path):
                found[path.relative_to(folder).as_posix()] = Found(path, reference_png.FORMAT)
                continue
            found |= _files_of(reference_rle.FORMAT, path, files, folder)
        except OSError as error:
            raise InputError(error.filename or path, reason(error), "check its rights") from error
    if not found:
        raise InputError(folder, "no masks of amg in it", "give a run's `output`")
    return found


def _files_of(format_: Format, place: Path, names: Sequence[str], folder: Path) -> dict[str, Found]:
    """The files of one format among those in `place`, by the image's name."""
    mine = [place / name for name in sorted(names) if name.endswith(format_.suffix)]
    return {
        path.relative_to(folder).as_posix().removesuffix(format_.suffix): Found(path, format_)
        for path in mine
        if format_.is_own(path)
    }


def masks_of(found: dict[str, Found], file_name: str) -> Found | None:
    """Those of the image `file_name`, which a run names without its suffix, or in a clash with.

    A run on a single folder does not know the folders that `file_name` may name.
    """
    name = PurePath(file_name)
    keys = [name.as_posix(), name.with_suffix("").as_posix(), name.name, name.stem]
    return next((found[key] for key in keys if key in found), None)
