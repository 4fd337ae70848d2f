"""One image to do, and what became of it. Plain values, which other processes take and give."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from amg_cli.batch.sources.address import Address
from amg_cli.core.errors import AmgError, ImageError
from amg_cli.core.timings import Timings
from amg_cli.formats.result import Result

if TYPE_CHECKING:
    from amg_cli.batch.detections import Boxes


@dataclass(frozen=True)
class Job:
    """One image to do.

    source:    its file, or where else it lies
    targets:   where its outputs go, one for each of the run's formats of an image
    number, name, file_name: as of `Result`
    overwrite: replace what is there
    boxes:     what is asked for in it, where the task goes by boxes
    nb_pixels: of the image, by its header; 0 where that is not known
    replaces:  in the cloud, whether something lies where its outputs go
    copy:      a file that has its bytes, where they were fetched
    fault:     why they could not be, and the remedy
    data_set_id: as of `Result`
    """

    source: Path | Address
    targets: tuple[Path, ...]
    number: int = 0
    name: str = ""
    file_name: str = ""
    overwrite: bool = False
    boxes: Boxes | None = None
    nb_pixels: int = field(default=0, compare=False)
    replaces: bool = False
    copy: Path | None = field(default=None, compare=False)
    fault: tuple[str, str] | None = field(default=None, compare=False)
    data_set_id: int | str | None = None


@dataclass(frozen=True)
class FileFacts:
    """Of an image's file, as far as it could be read; what a changed one is known by.

    mtime_ns: of an object, as `Facts.mark`
    """

    bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one job: its result, or an error.

    warnings: what may be wrong with the image, a line each
    refused:  what of the task could not be done, where the rest is, a line each
    seconds:  from reading it to having written its masks
    """

    job: Job
    result: Result | None = None
    error: AmgError | None = None
    warnings: tuple[ImageError, ...] = ()
    refused: tuple[ImageError, ...] = ()
    timings: Timings | None = None
    file: FileFacts = FileFacts()
    seconds: float = 0.0
