"""A file in parts, as it lies in the cloud, where nothing can be added to one; or a copy of that.

    run.ndjson                    from byte 0
    run.ndjson.000000000018342    from the byte that its name says

A part has whole lines. Two that overlap have the same bytes, or only the later one's are asked for.
"""

from __future__ import annotations

import bisect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_DIGITS = 15
_PART = re.compile(rf"(.+\.ndjson)(?:\.(\d{{{_DIGITS}}}))?")


def part_name(file: str, start: int) -> str:
    """The name of a file's part from a byte on."""
    return f"{file}.{start:0{_DIGITS}}" if start else file


def split_name(name: str) -> tuple[str, int] | None:
    """The file that a name is a part of, and from which byte on; None for no part of a record."""
    found = _PART.fullmatch(name)
    return (found[1], int(found[2] or 0)) if found else None


def parts_of(path: Path) -> list[tuple[int, Path]]:
    """A file's parts with their first bytes, in order; the first need not be there."""
    split = ((split_name(part.name), part) for part in path.parent.glob(f"{path.name}.*"))
    later = [(name[1], part) for name, part in split if name and name[0] == path.name]
    return [(0, path), *sorted(later)]


def lines_of(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, which may be in parts; none where there is no file.

    Raises OSError, and ValueError where a part is missing.
    """
    end = 0
    for start, part in parts_of(path):
        if start > end:
            raise ValueError(f"its part from byte {end} on is missing")
        try:
            with part.open("rb") as file:
                file.seek(end - start)
                for line in file:
                    if line.endswith(b"\n"):
                        end += len(line)
                        yield line
        except (FileNotFoundError, NotADirectoryError):
            if start:
                raise


def join_parts(folder: Path) -> None:
    """Make one file of each that is in parts. Killed, it has lost nothing. Raises OSError."""
    names = {name[0] for path in folder.iterdir() if (name := split_name(path.name)) and name[1]}
    for path in (folder / name for name in names):
        (_, _), *later = parts_of(path)
        path.touch()
        with path.open("r+b") as file:
            for start, part in later:
                file.seek(start)
                with part.open("rb") as added:
                    shutil.copyfileobj(added, file)
        for _, part in later:
            part.unlink()


class JoinedFile:
    """A file that may be in parts, open to be read anywhere, until it is closed."""

    def __init__(self, path: Path) -> None:
        self._parts = parts_of(path)
        self._starts = [start for start, _ in self._parts]
        self._open: dict[int, BinaryIO] = {}

    def read(self, at: int, length: int) -> bytes:
        """What lies from a byte on, a line. Raises OSError."""
        number = bisect.bisect_right(self._starts, at) - 1
        start, path = self._parts[number]
        if number not in self._open:
            self.close()  # parts are read in order, or nearly so; there may be thousands
            self._open[number] = path.open("rb")
        file = self._open[number]
        file.seek(at - start)
        return file.read(length)

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            self._open.popitem()[1].close()
