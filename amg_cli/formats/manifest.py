"""What a run records in its output folder, in `.amg`: a JSON value a line, in files only added to.

`images.ndjson` has the images in the order of their numbers, which they keep, as they keep names:

    {"number": 1, "name": "a", "file_name": "a.jpg", "path": "/photos/a.jpg", "existed": false}

    path:    the file, with the links of its folders followed; what makes it the same image later.
             A later line of that number has another path: the folder was moved
    existed: its output was there before any run of `amg` that has a record

`run.ndjson` (of shard 1 of 4: `run-1-of-4.ndjson`) begins with what decides the masks, and has a
line for each image that is done or failed, in order of the work; of two for one image the later
counts. At the end of a run that has nothing left comes `{"ended": true}`.

    {"version": 1, "amg": "0.1.0", "settings": {"weights": "…", "points_per_side": 32, …}}
    {"number": 1, "outcome": "done", "bytes": 48213, "mtime_ns": …, "sha256": "…", "masks": 27,
     "seconds": 2.3, "at": 0, "length": 9120}
    {"number": 2, "outcome": "failed", "error": "/photos/b.jpg: truncated JPEG; …", …}

    bytes, mtime_ns, sha256: of the image's file when it was read; missing if it could not be
    seconds: from reading it to having written its masks
    at, length: where in `masks.ndjson` (`masks-1-of-4.ndjson`) its line is, for the formats that
        are one file for the whole run; missing where the run has none

A line that a killed process has left without its end counts for nothing.

In the cloud, where nothing can be added to a file, each is in parts: see `parts.py`. Shards, which
on a disk share `images.ndjson`, have a list each there, `images-1-of-4.ndjson`. And before outputs
that are recorded are replaced, a line takes their record back: what has no record may be in part.

    {"number": 1, "outcome": "again"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from amg_cli.core.errors import OutputError, reason
from amg_cli.formats.ndjson import result_of
from amg_cli.formats.parts import JoinedFile, lines_of, split_name
from amg_cli.formats.result import Result

FOLDER = ".amg"
IMAGES = "images.ndjson"
VERSION = 1
AGAIN = "again"  # the outcome of an image whose outputs are about to be replaced
_IMAGES = re.compile(r"images(?:-\d+-of-\d+)?\.ndjson")
_RUN = re.compile(r"run(?:-(\d+)-of-(\d+))?\.ndjson")


@dataclass(frozen=True)
class Shard:
    """A part of a run: the `index`-th of `count`, from 1."""

    index: int = 1
    count: int = 1

    def file(self, kind: Literal["run", "masks", "images"]) -> str:
        """The name of its file of a kind."""
        part = f"-{self.index}-of-{self.count}" if self.count > 1 else ""
        return f"{kind}{part}.ndjson"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of `images.ndjson`."""

    number: int
    name: str
    file_name: str
    path: str
    existed: bool


@dataclass(frozen=True, slots=True)
class Record:
    """A line of an image in `run.ndjson`. What is not known is None."""

    number: int
    outcome: Literal["done", "failed"]
    bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    masks: int | None = None
    seconds: float | None = None
    error: str | None = None
    at: int | None = None
    length: int | None = None


def values_of(line: Entry | Record) -> dict[str, Any]:
    """What a line has, by name."""
    return {name: getattr(line, name) for name in line.__slots__}


@dataclass
class RunRecords:
    """What a `run.ndjson` says: the settings, the last record of each image, whether it has ended.

    settings: None where nothing is recorded yet
    """

    settings: Mapping[str, Any] | None = None
    of_image: dict[int, Record] = field(default_factory=dict)
    ended: bool = False


def read_entries(output: Path) -> list[Entry]:
    """The images of a run's folder; none where there is no run's. Raises OutputError.

    Where shards have lists of their own, an image had output before only if all have seen it: one
    may have seen another's.
    """
    entries: dict[int, Entry] = {}
    for path in _lists_in(output):
        before = dict(entries)
        with _readable(path):
            entries.update((entry.number, entry) for entry in _entries(path))
        for number in before.keys() & entries.keys():
            one, other = before[number], entries[number]
            if (one.name, one.file_name) != (other.name, other.file_name):
                cause = f"image {number} is {other.file_name}, and {one.file_name} to another shard"
                raise OutputError(path, cause, "shards need the same images: begin again")
            entries[number] = replace(other, existed=one.existed and other.existed)
    return list(entries.values())


def read_settings(output: Path, shard: Shard) -> Mapping[str, Any] | None:
    """What a shard was begun with, without the records of its images. Errors as `read_records`."""
    path = output / FOLDER / shard.file("run")
    with _readable(path):
        return next((values["settings"] for values in _lines(path) if "settings" in values), None)


def settings_in(output: Path) -> Iterator[Mapping[str, Any]]:
    """What each shard of a folder was begun with, where a record says. Errors as `read_records`."""
    yield from filter(None, (read_settings(output, shard) for shard in shards_in(output)))


def read_records(output: Path, shard: Shard) -> RunRecords:
    """What is recorded of a shard. Raises OutputError."""
    path = output / FOLDER / shard.file("run")
    records = RunRecords()
    with _readable(path):
        for values in _lines(path):
            if "settings" in values:
                if values["version"] > VERSION:
                    raise OutputError(path, "of a newer amg", "use that, or another folder")
                records = RunRecords(values["settings"])
            elif "ended" in values:
                records.ended = True
            elif values["outcome"] == AGAIN:
                records.of_image.pop(values["number"], None)
                records.ended = False
            else:
                records.of_image[values["number"]] = Record(**values)
                records.ended = False
    return records


def kept_results(parts: Sequence[tuple[Path, RunRecords]]) -> Iterator[Result]:
    """The masks that runs have kept, in order of the images' numbers, one image at a time.

    parts: a shard's file of masks, and its records. Raises OSError, and ValueError for a damaged
    line.
    """
    places = sorted(
        (record.number, part, record.at, record.length)
        for part, (_, records) in enumerate(parts)
        for record in records.of_image.values()
        if record.at is not None and record.length is not None
    )
    with ExitStack() as stack:
        files: dict[int, JoinedFile] = {}
        for _, part, at, length in places:
            if part not in files:
                files[part] = stack.enter_context(closing(JoinedFile(parts[part][0])))
            yield result_of(files[part].read(at, length))


def shards_in(output: Path) -> list[Shard]:
    """The shards that have records in a run's folder, in order."""
    names = [_RUN.fullmatch(path.name) for path in (output / FOLDER).glob("run*.ndjson")]
    found = [Shard(int(m[1] or 1), int(m[2] or 1)) for m in names if m]
    return sorted(found, key=lambda shard: (shard.count, shard.index))


def whole_bytes(path: Path) -> int:
    """How long a file is up to the end of its last whole line; 0 where there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            while end:
                start = max(0, end - 2**16)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                end = start
    except FileNotFoundError:
        pass
    return 0


def _lists_in(output: Path) -> list[Path]:
    """The lists of images: that of all, and those that shards have in the cloud."""
    folder = output / FOLDER
    names = {name[0] for path in folder.glob("images-*") if (name := split_name(path.name))}
    return [folder / IMAGES, *(folder / name for name in sorted(names) if _IMAGES.fullmatch(name))]


def _entries(path: Path) -> Iterator[Entry]:
    return (Entry(**values) for values in _lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of the whole lines."""
    return map(json.loads, lines_of(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Makes an OutputError of what a file that is no record of ours raises."""
    remedy = "remove the folder it is in, or give another `output`"
    try:
        yield
    except OSError as error:
        raise OutputError(path, f"cannot be read: {reason(error)}", remedy) from error
    except (ValueError, TypeError, LookupError) as error:
        raise OutputError(path, f"no record of a run: {error}", remedy) from error
