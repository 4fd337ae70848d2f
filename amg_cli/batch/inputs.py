"""What a run is given: files and folders, a file that lists them, or paths as they arrive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from amg_cli.batch.images import Source, discover
from amg_cli.core.errors import ConfigError, InputError, reason

_PIECE = 2**16


@dataclass(frozen=True)
class Sources:
    """The images of a run, in lists that come one after another.

    total: of images in all; None where that is not known yet
    listed: all of them, where they are known from the start; empty where they arrive
    """

    batches: Iterable[list[Source]]
    total: int | None
    listed: Sequence[Source] = ()


def find_sources(inputs: Sequence[Path], output: Path | None, recursive: bool) -> list[Source]:
    """The images of files and folders, but for those inside the output folder.

    Raises InputError where a path is missing or there is no image; ConfigError where the output
    folder is an input folder that is searched recursively.
    """
    if output is None or not recursive:
        return discover(inputs, recursive)
    if any(path.resolve() == output.resolve() for path in inputs):
        cause = f"{output} is an input too, and `recursive` would take its masks for images"
        raise ConfigError("output", cause, "write to another folder")
    inside = os.path.join(output.resolve(), "")  # noqa: PTH118 - with a separator at its end
    found = [s for s in discover(inputs, recursive) if not s.identity.startswith(inside)]
    if not found:
        raise InputError(output, "all images found are inside the output folder", "check `input`")
    return found


def listed_sources(path: Path, null: bool) -> list[Source]:
    """The images that a file lists, each once: a path a line, or before each NUL.

    Raises InputError where it cannot be read, or lists none.
    """
    try:
        with path.open("rb") as file:
            sources = list(arriving_sources(file, null))
    except OSError as error:
        raise InputError(path, reason(error), "give a file of paths") from error
    if not sources:
        raise InputError(path, "lists no image", "give a file with a path a line")
    return sources


def arriving_sources(stream: BinaryIO, null: bool) -> Iterator[Source]:
    """The images whose paths come in a stream, each once, as soon as each is there.

    An output is named by the whole path, in the folders of the output that it names; `..` and links
    are followed first, and a path from the root is taken from there.
    """
    seen = set()
    for name in _names(stream, b"\0" if null else b"\n"):
        path = Path(os.fsdecode(name))
        source = Source.of(path, _inside(path))
        if source.identity not in seen:
            seen.add(source.identity)
            yield source


def _names(stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    """What lies between ends, without waiting for more than is there. Empty ones are passed over.

    Of lines that end as on Windows, the end is not part.
    """
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while piece := read(_PIECE):
        *names, rest = (rest + piece).split(end)
        yield from filter(None, (_trimmed(name, end) for name in names))
    if last := _trimmed(rest, end):
        yield last


def _trimmed(name: bytes, end: bytes) -> bytes:
    return name.removesuffix(b"\r") if end == b"\n" else name


def _inside(path: Path) -> PurePath:
    """The path as one inside a folder."""
    if path.is_absolute() or ".." in path.parts:
        path = Path(os.path.realpath(path.parent)) / path.name
        return PurePath(*path.parts[1:]) if len(path.parts) > 1 else PurePath(path.name)
    return PurePath(path)
