"""What each image's output is called: fixed when it is first listed, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
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

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        """reserved: names that are no image's, as of the run's own files"""
        self._given: set[str] = set(map(_key, reserved))
        self._folders: set[str] = {""}

    def keep(self, name: str) -> None:
        """A name that an image has already."""
        self._given.add(_key(name))
        self._add_folders_of([name])

    def give(self, relatives: Sequence[str]) -> list[str]:
        """A name for each of some images, by their paths in the folders they were found in."""
        paths = [self._beside_given(path) for path in relatives] if self._given else relatives
        self._add_folders_of(paths)
        names = [plain_name(path) for path in paths]
        while True:
            keys = [_key(name) for name in names]
            uses = Counter(keys)
            clashing = [
                i
                for i, key in enumerate(keys)
                if (uses[key] > 1 or self._is_taken(key)) and names[i] != paths[i]
            ]
            if not clashing:
                break
            for i in clashing:
                names[i] = paths[i]
        numbered = self._numbered(names)
        self._given.update(map(_key, numbered))
        return numbered

    def _add_folders_of(self, names: Iterable[str]) -> None:
        for folder in {name.rpartition("/")[0] for name in names}:
            while folder:
                self._folders.add(_key(folder))
                folder = folder.rpartition("/")[0]

    def _beside_given(self, relative: str) -> str:
        """The path, in other folders where one has a name that is given."""
        *parts, name = relative.split("/")
        folder = ""
        for part in parts:
            candidate, number = f"{folder}{part}", 1
            while _key(candidate) in self._given:
                number += 1
                candidate = f"{folder}{part}~{number}"
            folder = f"{candidate}/"
        return f"{folder}{name}"

    def _is_taken(self, key: str) -> bool:
        return key in self._given or key in self._folders

    def _numbered(self, names: Sequence[str]) -> list[str]:
        """The same names, with `~2`, `~3`, … where one is taken."""
        fixed = set(map(_key, names))
        taken: set[str] = set()
        unique = []
        for name in names:
            candidate, number = name, 1
            while (
                (key := _key(candidate)) in taken
                or self._is_taken(key)
                or (number > 1 and key in fixed)
            ):
                number += 1
                candidate = f"{name}~{number}"
            taken.add(key)
            unique.append(candidate)
        return unique


def output_names(relatives: Sequence[PurePath]) -> list[PurePath]:
    """`Names` for images that are listed once."""
    return [PurePath(name) for name in Names().give([path.as_posix() for path in relatives])]


def why_renamed(relative: str, name: str) -> str:
    """Why a name keeps the image's suffix, or has a number; empty where it has neither."""
    stem = _stem(relative.rpartition("/")[2])
    if name.rpartition("/")[2] == stem:
        return ""
    if stem in NO_NAMES:
        return f"without its suffix its name would be {stem!r}"
    return "its plain name is another's too"


def plain_name(relative: str) -> str:
    """The name without its suffix, unless what is left is no name."""
    folder, slash, name = relative.rpartition("/")
    stem = _stem(name)
    return relative if stem in NO_NAMES else f"{folder}{slash}{stem}"


def _stem(name: str) -> str:
    """As `PurePath.stem`, of text."""
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def _key(name: str) -> str:
    """Equal for names that are one on some file system."""
    return name.casefold()
