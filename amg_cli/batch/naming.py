"""What each image's output is called: fixed when it is first listed, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

NO_NAMES = (".", "..")  # what an output can not be called: the folder itself, and the one around it


class Names:
    """Names for images' outputs, relative to the output folder, all different; each is kept.

    `sub/a.jpg` becomes `sub/a`. Where that is another image's name too, or a folder that other
    images are mirrored into, every image concerned keeps its suffix: `sub/a.jpg`. Images of one
    file name from several inputs get a number, in order of the listing: `sub/a.jpg`, `sub/a.jpg~2`.
    So does a folder to mirror into that is a name already: `a/b.jpg` becomes `a~2/b`.
    Names that differ only by case are one, as on many file systems. An image such as `...jpg`,
    whose name without the suffix would be a folder's, `..`, keeps it. Names that only some systems
    refuse (`CON`, `a:b`, a dot or space at the end) stay as they are, and fail on such a system.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._folders: set[str] = set()

    def keep(self, name: PurePath) -> None:
        """A name that an image has already."""
        self._given.add(_key(name))
        self._folders.update(_key(folder) for folder in name.parents)

    def give(self, relatives: Sequence[PurePath]) -> list[PurePath]:
        """A name for each of some images, by their paths in the folders they were found in."""
        paths = [self._beside_given(path) for path in relatives]
        self._folders.update(_key(folder) for path in paths for folder in path.parents)
        names = [_plain_name(path) for path in paths]
        while True:
            uses = Counter(map(_key, names))
            clashing = [
                i
                for i, name in enumerate(names)
                if name != paths[i] and (uses[_key(name)] > 1 or self._is_taken(name))
            ]
            if not clashing:
                break
            for i in clashing:
                names[i] = paths[i]
        numbered = self._numbered(names)
        self._given.update(map(_key, numbered))
        return numbered

    def _beside_given(self, relative: PurePath) -> PurePath:
        """The path, in other folders where one has a name that is given."""
        if not any(_key(folder) in self._given for folder in relative.parents):
            return relative
        folder = PurePath()
        for part in relative.parts[:-1]:
            candidate, number = folder / part, 1
            while _key(candidate) in self._given:
                number += 1
                candidate = folder / f"{part}~{number}"
            folder = candidate
        return folder / relative.name

    def _is_taken(self, name: PurePath) -> bool:
        return _key(name) in self._given or _key(name) in self._folders

    def _numbered(self, names: Sequence[PurePath]) -> list[PurePath]:
        """The same names, with `~2`, `~3`, … where one is taken."""
        fixed = set(map(_key, names))
        taken: set[str] = set()
        unique = []
        for name in names:
            candidate, number = name, 1
            while (
                _key(candidate) in taken
                or self._is_taken(candidate)
                or (number > 1 and _key(candidate) in fixed)
            ):
                number += 1
                candidate = name.with_name(f"{name.name}~{number}")
            taken.add(_key(candidate))
            unique.append(candidate)
        return unique


def output_names(relatives: Sequence[PurePath]) -> list[PurePath]:
    """`Names` for images that are listed once."""
    return Names().give(relatives)


def why_renamed(relative: PurePath, name: PurePath) -> str:
    """Why a name keeps the image's suffix, or has a number; empty where it has neither."""
    if name.name == relative.stem:
        return ""
    if relative.stem in NO_NAMES:
        return f"without its suffix its name would be {relative.stem!r}"
    return "its plain name is another's too"


def _plain_name(relative: PurePath) -> PurePath:
    """The name without its suffix, unless what is left is no name."""
    return relative if relative.stem in NO_NAMES else relative.with_name(relative.stem)


def _key(path: PurePath) -> str:
    """Equal for names that are one on some file system."""
    return path.as_posix().casefold()
