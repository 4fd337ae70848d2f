"""Find the images of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from amg_cli.batch.sources.address import Address, Facts, Place
from amg_cli.core.errors import InputError, reason

IMAGE_SUFFIXES = frozenset({".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class Source:
    """An image of a run: a file, an object, or inside a file. In text, as a run has 100,000.

    file:     the file, as to open; an address without its secrets
    relative: its path in the input folder it was found in, parted by "/"; its name if it was given
        itself
    identity: its own name in the real folder, which makes it the same file as another:
        `a/../b` is `b`, but two links to a file are two; an address without its secrets
    url, place, facts: as of `Address`; `url` is empty for a file, whose path is all there is
    fault:    why it is no image that can be read, and the remedy; empty where that is not known
    id:       what a data set calls it; None where it is of none
    """

    file: str
    relative: str
    identity: str
    url: str = ""
    place: Place | None = None
    facts: Facts | None = None
    fault: tuple[str, str] | None = None
    id: int | str | None = None

    @staticmethod
    def of(path: Path, relative: PurePath) -> Source:
        """The source at a path, whatever is there."""
        identity = os.fspath(_real(path.parent) / path.name)
        return Source(os.fspath(path), relative.as_posix(), identity)

    @property
    def path(self) -> Path:
        """The file, as to open."""
        return Path(self.file)

    @property
    def where(self) -> Path | Address:
        """The file, or where else it lies, as to open."""
        if not (self.url or self.fault):
            return self.path
        return Address(self.identity, self.url, self.place, self.facts)


def discover(inputs: Sequence[Path], recursive: bool) -> list[Source]:
    """The images that files and folders hold, each file once, where it came first.

    inputs:    files, taken whatever their suffix, and folders, whose files with one of
               `IMAGE_SUFFIXES` are taken; in the order given, a folder's in order of the bytes of
               their names, its files before its sub-folders; hidden ones are skipped
    recursive: sub-folders too; a folder that links lead to twice is entered once

    Errors: InputError for an input that does not exist, and for a folder without images or that
    cannot be listed.
    """
    found: dict[str, Source] = {}
    for given in inputs:
        for source in _images_of(given, recursive):
            found.setdefault(source.identity, source)
    return list(found.values())


def _images_of(given: Path, recursive: bool) -> Iterator[Source]:
    """The images of one input."""
    try:
        given.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _no_such(given) from None
    except OSError as error:
        raise InputError(given, reason(error), "check the path") from error
    if not given.is_dir():
        yield Source.of(given, PurePath(given.name))
        return
    empty = True
    for source in _walk(given, recursive):
        empty = False
        yield source
    if empty:
        looked_for = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(given, f"no image in it (looked for {looked_for})", _where_else(given))


def _no_such(given: Path) -> InputError:
    if any(sign in str(given) for sign in "*?["):
        cause = "no such file; as a pattern, the shell found no names for it"
        return InputError(given, cause, "give the folder, or check the pattern")
    return InputError(given, "no such file or folder", "check the path")


def _walk(folder: Path, recursive: bool) -> Iterator[Source]:
    """The images of a folder. A list, not recursion: paths may be deeper than Python's stack."""
    entered = set()
    pending = [(folder, PurePath())]
    while pending:
        here, relative = pending.pop()
        real = _real(here)
        if real in entered:
            continue
        entered.add(real)
        images, folders = _listing(here)
        folder_name = "" if here == Path() else os.fspath(here)
        inside = "" if relative == PurePath() else f"{relative.as_posix()}/"
        for name in images:
            yield Source(
                file=os.path.join(folder_name, name),  # noqa: PTH118 - of text, for speed
                relative=f"{inside}{name}",
                identity=os.path.join(real, name),  # noqa: PTH118
            )
        if recursive:
            pending += [(here / name, relative / name) for name in reversed(folders)]


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the images and of the folders in a folder, each sorted, hidden ones left out."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                # A link that leads nowhere is kept: reading it gives its error, not silence.
                elif entry.is_symlink() or entry.is_file():
                    files.append(entry.name)
    except OSError as error:
        raise InputError(folder, f"cannot list it: {reason(error)}", "check its rights") from error
    images = [name for name in files if PurePath(name).suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images, key=os.fsencode), sorted(folders, key=os.fsencode)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))  # Path.resolve raises where links lead in circles


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder closed to us
        return False


def _where_else(folder: Path) -> str:
    try:
        below = any(True for _ in _walk(folder, recursive=True))
    except InputError:
        below = False
    return "its sub-folders have some: add `recursive`" if below else "check the path"
