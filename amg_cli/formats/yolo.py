"""A YOLO segmentation data set, as Ultralytics trains on it: a folder for the whole run.

    data.yaml                     where the images are, and the names of the categories
    labels/train/NAME.txt         a line an object: category and outline, x and y in parts of 1
    images/train/NAME.jpg         a link to the photograph, or a copy where links cannot be made;
                                  Ultralytics mends a JPEG without an end in place, by the link too
    labels/val/, images/val/      of the part that `val_share` sets aside, by the image's name

Without `val_share`, `val` is `train`. An image without masks has an empty file, which is how YOLO
learns of backgrounds. The outlines of an object, its parts' and its holes', are one: see `joined`.
Source: https://docs.ultralytics.com/datasets/segment/ and Ultralytics' `merge_multi_segment`.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path, PurePath

import numpy as np

from amg_cli.core.mask import Mask
from amg_cli.formats.categories import Categories
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.outlines import joined, parts_of
from amg_cli.formats.result import Result
from amg_cli.formats.text import whole_text

_SHARES = 10_000
_DIGITS = 6


class _Writer:
    """Writes an image's labels as it comes."""

    def __init__(self, output: Output) -> None:
        self._path = output.path
        self._target = output.target
        self._options = output.options
        self._categories = Categories(output.options)
        self._folders: set[Path] = set()
        for kind in ("labels", "images"):
            (self._path / kind / "train").mkdir(parents=True)
            if output.options.val_share:
                (self._path / kind / "val").mkdir()

    def add(self, result: Result) -> None:
        """Its labels, and the way to its photograph."""
        self._categories.add(result.categories)
        part = _part(result.name, self._options.val_share)
        lines = [self._line(mask, result.image_hw) for mask in result.masks]
        # YOLO makes the labels' path of the image's by the last `images` in it.
        folder, slash, base = result.name.rpartition("/")
        folder = "/".join(f"{p}~" if p == "images" else p for p in folder.split("/"))
        name = f"{folder}{slash}{base}"
        labels = self._place("labels", part, f"{name}.txt")
        labels.write_text("".join(lines), encoding="ascii")
        if result.source:
            suffix = PurePath(result.file_name).suffix or PurePath(result.source).suffix
            image = self._place("images", part, f"{name}{suffix}")
            _link(Path(result.source), image, self._target / image.relative_to(self._path))

    def close(self) -> None:
        """What all images have in common."""
        val = "val" if self._options.val_share else "train"
        names = "".join(
            f"  {number}: {json.dumps(whole_text(name), ensure_ascii=False)}\n"
            for number, name in enumerate(self._categories.names)
        )
        text = f"train: images/train\nval: images/{val}\nnames:\n{names}"
        (self._path / "data.yaml").write_text(text, encoding="utf-8")

    def _line(self, mask: Mask, image_hw: tuple[int, int]) -> str:
        found = parts_of(mask, self._options.polygon_tolerance)
        if not found:  # an empty mask
            return ""
        outline = joined(found)
        parts = outline / np.array([image_hw[1], image_hw[0]])
        numbers = " ".join(f"{value:.{_DIGITS}g}" for value in parts.ravel().tolist())
        return f"{self._categories.number_of(mask)} {numbers}\n"

    def _place(self, kind: str, part: str, name: str) -> Path:
        """A file's path, whose folder is there."""
        path = self._path / kind / part / name
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        return path


def _part(name: str, val_share: float) -> str:
    """Of an image: by its name, whatever others there are."""
    place = zlib.crc32(os.fsencode(name)) % _SHARES
    return "val" if place < val_share * _SHARES else "train"


def _link(source: Path, path: Path, target: Path) -> None:
    """The photograph where YOLO looks for it. target: where the link will lie."""
    if not source.exists():
        return
    try:
        path.symlink_to(os.path.relpath(source, os.path.realpath(target.parent)))
    except (OSError, ValueError):  # as on Windows, where not everyone may, or it is another drive
        shutil.copyfile(source, path)


FORMAT = RunFormat(
    file_name="yolo", open=_Writer, options=("category", "polygon_tolerance", "val_share")
)
