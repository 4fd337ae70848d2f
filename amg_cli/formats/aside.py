"""Text that comes later in a file than what it is known with: kept aside until its turn."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import TextIO

_PIECE = 2**20


class Aside:
    """Text on the disk, without a name: it goes with the process."""

    def __init__(self, folder: Path, encoding: str) -> None:
        """Errors: OSError. folder: with room for it"""
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - until `close`
            "w+", encoding=encoding, newline="\n", dir=folder
        )

    def write(self, text: str) -> None:
        """More text. Raises OSError."""
        self._file.write(text)

    def copy_to(self, file: TextIO) -> None:
        """All of it, to where it belongs. Raises OSError."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            file.write(piece)

    def __enter__(self) -> Aside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
