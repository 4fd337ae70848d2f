"""Masks that a run has written: which images they are of, and in which format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np

from amg_cli.core.errors import InputError
from amg_cli.core.masks import Mask
from amg_cli.core.rle import Rle
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
                check_rle(mask.rle)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, cv2.error) as error:
            cause = f"no masks of amg: {error or repr(error)}"
            raise InputError(self.path, cause, "run amg again") from error
        return masks


def find_masks(folder: Path) -> dict[str, Found]:
    """All masks under `folder`, by the image's name: the path inside it, without the suffix.

    Raises InputError where there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "give what amg --output wrote")
    found: dict[str, Found] = {}
    for place, folders, files in os.walk(folder):
        folders.sort()
        path = Path(place)
        if "metadata.csv" in files:
            found[path.relative_to(folder).as_posix()] = Found(path, reference_png.FORMAT)
            continue
        suffix = reference_rle.FORMAT.suffix
        for name in sorted(files):
            if name.endswith(suffix):
                key = (path / name.removesuffix(suffix)).relative_to(folder).as_posix()
                found[key] = Found(path / name, reference_rle.FORMAT)
    if not found:
        raise InputError(folder, "no masks of amg in it", "give what amg --output wrote")
    return found


def masks_of(found: dict[str, Found], file_name: str) -> Found | None:
    """Those of the image `file_name`, which a run names without its suffix, or in a clash with.

    A run on a single folder does not know the folders that `file_name` may name.
    """
    name = PurePath(file_name)
    keys = [name.as_posix(), name.with_suffix("").as_posix(), name.name, name.stem]
    return next((found[key] for key in keys if key in found), None)


def check_rle(rle: Rle) -> None:
    """Raises ValueError, TypeError or LookupError unless the runs of a mask fill its size.

    pycocotools trusts them: it hangs or crashes on others.
    """
    height, width = rle["size"]
    runs = _runs(rle["counts"])
    if height < 1 or width < 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"damaged RLE: its runs do not fill {height} x {width} pixels")


def _runs(counts: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The run lengths that COCO's compressed text stands for: base 32, differences from the third.

    Each character holds five bits from 48 on, the lowest first; the sixth bit says that more
    follow, and the last one's fifth bit is the sign.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    lengths = np.diff(ends, prepend=-1)
    known = len(codes) > 0 and codes.min() >= 0 and codes.max() < 64
    if not known or ends[-1:].tolist() != [len(codes) - 1] or lengths.max() > 8:
        raise ValueError("damaged RLE: its counts are not COCO's")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
