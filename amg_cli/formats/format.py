"""What an output format is: of one image each, or of a whole run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from amg_cli.core.errors import InputError

if TYPE_CHECKING:
    from amg_cli.core.mask import Mask
    from amg_cli.formats.result import Result


@dataclass(frozen=True)
class FormatOptions:
    """What the user says of how masks are kept.

    category: the name of what all masks are of that have no category of their own
    polygons: outlines instead of masks, where a format has both
    polygon_tolerance: how far an outline may lie from the mask's, in pixels, to have fewer corners
    cutout_margin: pixels of the photograph around a cut-out object
    val_share: of the images, in [0, 1], the part that is for validation
    edge_bits: of a pixel of edges, 8 or 16
    """

    category: str = "object"
    polygons: bool = False
    polygon_tolerance: float = 0.0
    cutout_margin: int = 0
    val_share: float = 0.0
    edge_bits: int = 8

    def category_of(self, mask: Mask) -> str:
        """The mask's own, or that of all."""
        return self.category if mask.category is None else mask.category


@dataclass(frozen=True)
class Output:
    """Where something is written, and how.

    path:   to write to; nothing is there yet
    target: where it will lie when it is whole
    stays:  whether it will lie there, from where there are ways to other files of this disk; else
        it is sent elsewhere
    """

    path: Path
    target: Path
    options: FormatOptions = FormatOptions()
    stays: bool = True


@dataclass(frozen=True)
class ImageFormat:
    """How the masks of one image are kept in a file or folder of their own.

    suffix: of the output's name; empty where the output is a folder
    write:  the masks of an image. Raises OSError, and ValueError where they lack what it needs.
    folder: of the run's, that all are in; empty for the run's own
    needs_image: whether it writes pixels of the photograph
    options: the names of the `FormatOptions` that it goes by
    moved:  changes what was made to lie at the second path so that it can lie at the third; None
        where it need not know where it lies
    is_own: whether a file or folder begins as what `write` writes; a damaged one may, and another
        program's may not. Raises OSError. None where masks are not read back
    read:   what `write` wrote. Raises OSError, or ValueError for a file of another kind. None
        likewise
    """

    suffix: str
    write: Callable[[Result, Output], None]
    folder: str = ""
    needs_image: bool = False
    options: tuple[str, ...] = ()
    moved: Callable[[Path, Path, Path], None] | None = None
    is_own: Callable[[Path], bool] | None = None
    read: Callable[[Path], list[Mask]] | None = None

    def target(self, folder: Path, name: str) -> str:
        """Where the masks of an image go, in a run's folder. Text, as there may be 100,000."""
        return os.path.join(folder, self.folder, name) + self.suffix  # noqa: PTH118


class Writer(Protocol):
    """What writes the file of a whole run. What it holds does not grow with the images."""

    def add(self, result: Result) -> None:
        """One more image, in ascending order of their numbers. Raises OSError."""

    def close(self) -> None:
        """End the file, without which it is no whole one. Raises OSError."""


@dataclass(frozen=True)
class RunFormat:
    """How the masks of a whole run are kept in one file, or in one folder.

    file_name: of the output, in the run's folder
    open:   a writer of what does not exist yet. Raises OSError.
    options: the names of the `FormatOptions` that it goes by
    is_own: whether a file or folder begins as what a writer writes. Raises OSError. None where
        masks are not read back
    read:   the results, in its order; each is made when it is asked for. Raises OSError, or
        ValueError for one of another kind. None likewise
    package, extra: what it needs installed, and the extra of this project that brings that
    """

    file_name: str
    open: Callable[[Output], Writer]
    options: tuple[str, ...] = ()
    is_own: Callable[[Path], bool] | None = None
    read: Callable[[Path], Iterator[Result]] | None = None
    package: str = ""
    extra: str = ""

    def check_installed(self, where: object) -> None:
        """Raises InputError where its package is not there, saying what brings it."""
        try:
            if self.package:
                import_module(self.package)
        except ImportError as error:
            remedy = f"pip install 'amg-cli[{self.extra}]'"
            raise InputError(where, f"needs {self.package}", remedy) from error


def used_options(
    formats: Iterable[ImageFormat | RunFormat], options: FormatOptions
) -> dict[str, Any]:
    """The options that some of the formats go by, with their values."""
    names = {name for format_ in formats for name in format_.options}
    return {name: value for name, value in vars(options).items() if name in names}
