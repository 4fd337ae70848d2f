"""A file of class names: UTF-8, a name a line; empty lines and those that begin with # are none."""

from __future__ import annotations

from pathlib import Path

from amg_cli.core.errors import InputError, reason

WANTED = "give a file with a name a line, or names parted by commas"


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names of a file, each once, in their order.

    Raises InputError for a file that cannot be read, is no text, or has no name in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(path, reason(error), WANTED) from error
    except UnicodeDecodeError as error:
        cause = f"is not UTF-8, at byte {error.start}"
        raise InputError(path, cause, "save it as UTF-8 text, a name a line") from error
    names = parted(text, "\n")
    if not names:
        raise InputError(path, "has no name in it", WANTED)
    return names


def parted(text: str, by: str) -> tuple[str, ...]:
    """Names that are parted by commas or ends of lines, each once; lines may be comments."""
    parts = (part.strip() for part in text.split(by))
    return tuple(dict.fromkeys(part for part in parts if part and not _is_comment(part, by)))


def _is_comment(part: str, by: str) -> bool:
    return by == "\n" and part.startswith("#")
