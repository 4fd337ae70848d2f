"""What a run is given: files, folders, addresses, data sets; a file that lists images, or paths as
they arrive.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from amg_cli.batch.cloud.remote import is_url, path_in, without_secrets
from amg_cli.batch.sources.data_sets import (
    Columns,
    is_saved,
    is_table,
    parquet_in,
    rows_of,
    rows_of_files,
    rows_of_saved,
)
from amg_cli.batch.sources.images import IMAGE_SUFFIXES, Source, discover
from amg_cli.batch.sources.objects import files_in, object_source, objects_at
from amg_cli.batch.sources.shards import expanded, images_in, is_shard
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


def find_sources(
    inputs: Sequence[Path | str],
    output: Path | str | None,
    recursive: bool,
    columns: Columns = Columns(),  # noqa: B008 - it is frozen
) -> list[Source]:
    """The images of files, folders, addresses and data sets, each once, where it came first.

    Those inside the output folder are left out; tars at addresses too, which `far_shards` names.
    Raises InputError where a path is missing or there is no image; ConfigError where the output
    folder is an input folder that is searched recursively.
    """
    if output is not None and recursive and _whole(output) in map(_whole, inputs):
        shown = without_secrets(str(output))
        cause = f"{shown} is an input too, and `recursive` would take its masks for images"
        raise ConfigError("output", cause, "write to another folder")
    found: dict[str, Source] = {}
    shards = far_shards(inputs)
    for given in _each(inputs):
        if given not in shards:
            for source in _found(given, recursive, columns):
                found.setdefault(source.identity, source)
    if output is None or not recursive:
        return list(found.values())
    inside = _whole(output) + ("/" if isinstance(output, str) else os.sep)
    kept = [s for s in found.values() if not s.identity.startswith(inside)]
    if found and not kept:
        raise InputError(output, "all images found are inside the output folder", "check `input`")
    return kept


def _whole(given: Path | str) -> str:
    """A path with its links followed; an address without its secrets, as images are known by it."""
    return without_secrets(given).rstrip("/") if isinstance(given, str) else str(given.resolve())


def far_shards(inputs: Sequence[Path | str]) -> list[str]:
    """The tars among inputs that lie at addresses, which have to be fetched to see what is in
    them.
    """
    each = (given for given in _each(inputs) if isinstance(given, str) and is_shard(given))
    return list(dict.fromkeys(each))


def _each(inputs: Sequence[Path | str]) -> Iterator[Path | str]:
    """The inputs, each pattern of braces as what it stands for."""
    for given in inputs:
        text = os.fspath(given)
        if "{" not in text or (isinstance(given, Path) and given.exists()):
            yield given
        else:
            yield from (Path(each) if isinstance(given, Path) else each for each in expanded(text))


def _found(given: Path | str, recursive: bool, columns: Columns) -> list[Source]:
    """The images of one input."""
    text = os.fspath(given)
    if is_table(text) and (isinstance(given, str) or given.is_file()):
        found, what = rows_of(text, columns), "no row in it"
    elif isinstance(given, str):
        found = objects_at(given, recursive)
        if not found and (tables := files_in(given, ".parquet")):
            found = rows_of_files(tables, PurePath(path_in(given)).name or "rows", columns)
        what = f"no image in it (looked for {' '.join(sorted(IMAGE_SUFFIXES))})"
    elif is_shard(text) and given.is_file():
        found, what = images_in(text), "no image in it"
    elif given.is_dir() and is_saved(given):
        found, what = rows_of_saved(given, columns), "no row in it"
    else:
        return _on_disk(given, recursive, columns)
    if not found:
        raise InputError(without_secrets(text), what, "check it, or add `recursive`")
    return found


def _on_disk(given: Path, recursive: bool, columns: Columns) -> list[Source]:
    """The images of a file or folder; of a folder that has none, those of its Parquet files."""
    try:
        return discover([given], recursive)
    except InputError:
        if given.is_dir() and (tables := parquet_in(given)):
            return rows_of_files(tables, Path(os.path.realpath(given)).name, columns)
        raise


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
    are followed first, and a path from the root is taken from there. That of an address is in
    folders by its bucket or host.
    """
    seen = set()
    for name in _names(stream, b"\0" if null else b"\n"):
        text = os.fsdecode(name)
        path = Path(text)
        source = object_source(text) if is_url(text) else Source.of(path, _inside(path))
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
