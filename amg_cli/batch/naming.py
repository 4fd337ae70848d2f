"""What each image's output is called. Fixed from the whole listing, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

NO_NAMES = (".", "..")  # what an output can not be called: the folder itself, and the one around it


def output_names(relatives: Sequence[PurePath]) -> list[PurePath]:
    """A name for each image's output, relative to the output folder, all different.

    `sub/a.jpg` becomes `sub/a`. Where that is another image's name too, or a folder that other
    images are mirrored into, every image concerned keeps its suffix: `sub/a.jpg`. Images of one
    file name from several inputs get a number, in order of the listing: `sub/a.jpg`, `sub/a.jpg~2`.
    Names that differ only by case are one, as on many file systems. An image such as `...jpg`,
    whose name without the suffix would be a folder's, `..`, keeps it. Names that only some systems
    refuse (`CON`, `a:b`, a dot or space at the end) stay as they are, and fail on such a system.
    """
    folders = {_key(folder) for path in relatives for folder in path.parents}
    names = [_plain_name(path) for path in relatives]
    while True:
        uses = Counter(map(_key, names))
        clashing = [
            i
            for i, name in enumerate(names)
            if (uses[_key(name)] > 1 or _key(name) in folders) and name != relatives[i]
        ]
        if not clashing:
            return _numbered(names, folders)
        for i in clashing:
            names[i] = relatives[i]


def _plain_name(relative: PurePath) -> PurePath:
    """The name without its suffix, unless what is left is no name."""
    return relative if relative.stem in NO_NAMES else relative.with_name(relative.stem)


def _numbered(names: Sequence[PurePath], folders: set[str]) -> list[PurePath]:
    """The same names, with `~2`, `~3`, … where one is taken."""
    taken = folders.copy()
    fixed = set(map(_key, names))
    unique = []
    for name in names:
        candidate, number = name, 1
        while _key(candidate) in taken or (number > 1 and _key(candidate) in fixed):
            number += 1
            candidate = name.with_name(f"{name.name}~{number}")
        taken.add(_key(candidate))
        unique.append(candidate)
    return unique


def _key(path: PurePath) -> str:
    return path.as_posix().casefold()
