"""Text in files: what they begin with, and what they can hold."""

from __future__ import annotations

from pathlib import Path


def begins(path: Path, start: str) -> bool:
    """Whether there is a file that begins with some ASCII. Raises OSError."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(start)) == start.encode("ascii")


def whole_text(text: str) -> str:
    """Without halves of characters, which file names that are no text have, and UTF-8 has not."""
    return text.encode("utf-8", "replace").decode("utf-8")
