"""Which image of a file of boxes an input is, by what the file calls its images.

The rules, of which the first that finds a name counts:

1. the name is the input's path in its folder                      cats/a.jpg
2. it is the input's file as given                                 photos/cats/a.jpg
3. it is, seen from here, the same file                            ../me/photos/cats/a.jpg
4. it is 1 or 3 but for the suffix of an image                     cats/a, cats/a.png
5. the input's whole path ends with it, the longest of such names  a.jpg, me/photos/cats/a.jpg
6. it ends with the input's path in its folder                     /other/photos/cats/a.jpg
7. rules 5 and 6 but for the suffix of an image
8. it is a number, and so is the name of the input, without suffix: 12 is cats/000012.jpg

A path ends with whole parts: b/a.jpg is none of cats/a.jpg. Where a rule finds two names, such as
cats/a.jpg and dogs/a.jpg for an input a.jpg by rule 6, it is neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import PurePath, PurePosixPath

from amg_cli.batch.sources.images import IMAGE_SUFFIXES, Source

_SEVERAL = -1  # in place of an image's index, where it could be two


class ImageNames:
    """The names of a file's images, each a path or a number. An image's index is its name's."""

    def __init__(self, names: Sequence[str | int]) -> None:
        self.names = names
        paths = [(i, tidy(name)) for i, name in enumerate(names) if isinstance(name, str)]
        self._whole = _Paths(paths)
        self._bare = _Paths([(i, _without_suffix(path)) for i, path in paths])
        self._numbers = {str(name): i for i, name in enumerate(names) if isinstance(name, int)}

    def find(self, source: Source) -> tuple[int, int] | None:
        """How well the image of an input fits, 0 best, and its index. None where there is none."""
        for rank, index in enumerate(self._found(source)):
            if index is not None:
                return None if index == _SEVERAL else (rank, index)
        return None

    def owners(self, sources: Iterable[Source]) -> tuple[dict[str, int], dict[int, list[str]]]:
        """The index of the image of each input, by its `identity`, each image being one input's.

        It is that of the input which it fits best; where it fits two as well, it is neither's.
        -> also the files of such inputs, by the index.
        """
        best: dict[int, tuple[int, list[Source]]] = {}
        for source in sources:
            if found := self.find(source):
                rank, index = found
                if index not in best or rank < best[index][0]:
                    best[index] = (rank, [source])
                elif rank == best[index][0]:
                    best[index][1].append(source)
        owners = {each[0].identity: i for i, (_, each) in best.items() if len(each) == 1}
        shared = {i: [s.file for s in each] for i, (_, each) in best.items() if len(each) > 1}
        return owners, shared

    def _found(self, source: Source) -> Iterator[int | None]:
        """What each rule finds, in their order; they are tried only as far as is asked."""
        relative = tidy(source.relative)
        identity = PurePath(source.identity).as_posix()
        yield self._whole.same(relative)
        yield self._whole.same(tidy(source.file))
        yield self._whole.seen_from_here.get(identity)
        bare, bare_identity = _without_suffix(relative), _without_suffix(identity)
        yield self._bare.same(bare)
        yield self._bare.seen_from_here.get(bare_identity)
        yield self._whole.end_of(identity)
        yield self._whole.ending_with(relative)
        yield self._bare.end_of(bare_identity)
        yield self._bare.ending_with(bare)
        yield self._numbers.get(PurePosixPath(relative).stem.lstrip("0") or "0")


class _Paths:
    """Paths, parted by "/", each with its image's index."""

    def __init__(self, paths: Sequence[tuple[int, str]]) -> None:
        self._paths = paths
        self._index_of = _by_path(paths)
        self._by_end: dict[int, dict[str, int]] = {}

    def same(self, path: str) -> int | None:
        """The index of a path."""
        return self._index_of.get(path)

    def end_of(self, path: str) -> int | None:
        """Of the longest one that a path ends with."""
        start = path.find("/") + 1
        while start:
            if (index := self._index_of.get(path[start:])) is not None:
                return index
            start = path.find("/", start) + 1
        return None

    def ending_with(self, path: str) -> int | None:
        """Of the one that ends with a path."""
        nb_parts = path.count("/") + 1
        if nb_parts not in self._by_end:
            ends = ((i, "/".join(each.split("/")[-nb_parts:])) for i, each in self._paths)
            self._by_end[nb_parts] = _by_path(ends)
        return self._by_end[nb_parts].get(path)

    @cached_property
    def seen_from_here(self) -> dict[str, int]:
        """By the real path, as a `Source` has it: only the folder's links are followed."""
        folders: dict[str, str] = {}
        real = []
        for i, path in self._paths:
            parted = path.rfind("/") + 1
            folder, name = path[:parted], path[parted:]
            if folder not in folders:
                folders[folder] = _real(folder).rstrip("/")
            real.append((i, f"{folders[folder]}/{name}"))
        return _by_path(real)


def tidy(path: str) -> str:
    """A path without what means nothing: ./a//b.jpg is a/b.jpg."""
    # Asked first, for speed: a file has ten million, and hardly any such.
    return PurePath(path).as_posix() if "./" in path or "//" in path or os.sep != "/" else path


def _real(folder: str) -> str:
    try:
        return PurePath(os.path.realpath(folder)).as_posix()
    except ValueError:  # no path at all: of a NUL, or of half a character
        return folder


def _by_path(paths: Iterable[tuple[int, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, path in paths:
        found[path] = _SEVERAL if path in found else index
    return found


def _without_suffix(path: str) -> str:
    """Without that of an image: a.b is no a."""
    stem, dot, suffix = path.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else path
