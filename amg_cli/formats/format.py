"""What an output format is: of one image each, or of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amg_cli.core.mask import Mask
    from amg_cli.formats.result import Result


@dataclass(frozen=True)
class ImageFormat:
    """How the masks of one image are kept in a file or folder of their own.

    suffix: of the output's name; empty where the output is a folder
    is_own: whether a file or folder begins as what `write` writes; a damaged one may, and another
        program's may not. Raises OSError.
    write:  the masks to a path that does not exist yet. Raises OSError.
    read:   what `write` wrote. Raises OSError, or ValueError for a file of another kind.
    """

    suffix: str
    is_own: Callable[[Path], bool]
    write: Callable[[Sequence[Mask], Path], None]
    read: Callable[[Path], list[Mask]]


class Writer(Protocol):
    """What writes one file of a whole run. What it holds does not grow with the images."""

    def add(self, result: Result) -> None:
        """One more image, in ascending order of their numbers. Raises OSError."""

    def close(self) -> None:
        """End the file, without which it is no whole one. Raises OSError."""


@dataclass(frozen=True)
class Labels:
    """What the user says of a run's data set.

    category: the name of what all masks are of that have no category of their own
    polygons: outlines instead of RLE, where a format has both
    """

    category: str = "object"
    polygons: bool = False


@dataclass(frozen=True)
class RunFormat:
    """How the masks of a whole run are kept in one file.

    file_name: of the output, in the run's folder
    is_own: whether a file begins as what a writer writes. Raises OSError.
    open:   a writer of a file that does not exist yet. Raises OSError.
    read:   the results in a file, in its order; each is made when it is asked for. Raises OSError,
        or ValueError for a file of another kind.
    """

    file_name: str
    is_own: Callable[[Path], bool]
    open: Callable[[Path, Labels], Writer]
    read: Callable[[Path], Iterator[Result]]
