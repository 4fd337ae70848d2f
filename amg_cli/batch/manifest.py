"""The record of a run in its output folder: written by one process at a time, only added to.

Its schema is in `formats/manifest.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from amg_cli.batch.holding import held_alone, holder_beside
from amg_cli.batch.listing import Listing
from amg_cli.batch.sources.images import Source
from amg_cli.core.errors import OutputError, reason
from amg_cli.core.version import __version__
from amg_cli.formats.manifest import (
    AGAIN,
    FOLDER,
    IMAGES,
    VERSION,
    Entry,
    Record,
    RunRecords,
    Shard,
    kept_results,
    read_entries,
    read_records,
    values_of,
    whole_bytes,
)
from amg_cli.formats.ndjson import line_of
from amg_cli.formats.parts import join_parts
from amg_cli.formats.result import Result


class Manifest:
    """The record of one shard of a run.

    records: of the images that were done, or failed, in this shard
    """

    def __init__(self, output: Path, shard: Shard, reserved: Iterable[str] = ()) -> None:
        """reserved: names that no image gets"""
        self.output = output
        self.shard = shard
        self._images = Listing(reserved=reserved)
        self._listed_bytes = -1  # as there may be lists of others
        self.records: RunRecords = read_records(output, shard)
        with self._listing():
            pass
        folder = output / FOLDER
        self._run = _appending(folder / shard.file("run"))
        self._masks: BinaryIO | None = None

    @staticmethod
    @contextmanager
    def held(output: Path, shard: Shard, reserved: Iterable[str] = ()) -> Iterator[Manifest]:
        """The record, and the right to write it, until the block ends. reserved: as of `Manifest`

        Raises OutputError where another process has it, or the folder cannot be used.
        """
        folder = output / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(folder, reason(error), "check the folder's rights") from error
        with held_alone(folder / f"{shard.file('run')}.lock", output):
            try:
                join_parts(folder)  # of a folder that was copied from the cloud
            except OSError as error:
                raise OutputError(folder, reason(error), "check the folder's rights") from error
            manifest = Manifest(output, shard, reserved)
            try:
                yield manifest
            finally:
                manifest.close()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Forget what is recorded of images, but for their numbers and names, and start anew."""
        self._close_masks()
        folder = self.output / FOLDER
        with suppress(FileNotFoundError):
            (folder / self.shard.file("masks")).unlink()
        self._run.truncate(0)
        self.records = RunRecords(settings)
        self._write({"version": VERSION, "amg": __version__, "settings": settings})

    def list_images(
        self, sources: Sequence[Source], has_output: Callable[[str], bool]
    ) -> list[Entry]:
        """The entries of images, in order; those not listed before get a number and a name.

        has_output: whether there is output of such a name already
        """
        with self._listing() as file:
            for entry in self._images.add(sources, has_output):
                file.write(_line(values_of(entry)))
        return [self._images[source] for source in sources]

    def adopt(self, entries: Sequence[Entry]) -> None:
        """List images as another record has them, with their numbers and names."""
        with self._listing() as file:
            for entry in entries:
                if self._images.keep(entry):
                    file.write(_line(values_of(entry)))

    def keep(self, result: Result) -> tuple[int, int]:
        """Keep an image's masks for the files of the whole run. -> where: `at` and `length`."""
        if self._masks is None:
            path = self.output / FOLDER / self.shard.file("masks")
            self._masks = _appending(path, end=self.kept_bytes())
        line = line_of(result).encode("ascii")
        at = self._masks.tell()
        self._masks.write(line)
        self._masks.flush()
        return at, len(line)

    def record(self, record: Record) -> None:
        """What became of an image. Raises OSError."""
        values = values_of(record)
        self._write({name: value for name, value in values.items() if value is not None})
        self.records.of_image[record.number] = record
        self.records.ended = False

    def take_back(self, numbers: Iterable[int]) -> bool:
        """Forget what is recorded of images, whose outputs are replaced. -> whether there was any

        Raises OSError.
        """
        known = [number for number in numbers if self.records.of_image.pop(number, None)]
        for number in known:
            self._write({"number": number, "outcome": AGAIN})
        self.records.ended = self.records.ended and not known
        return bool(known)

    def end(self) -> None:
        """Nothing is left to do. Raises OSError."""
        if not self.records.ended:
            self._write({"ended": True})
            self.records.ended = True

    def results(self) -> Iterator[Result]:
        """The masks that were kept, in order of the images' numbers, one image at a time."""
        self._close_masks()
        path = self.output / FOLDER / self.shard.file("masks")
        categories = tuple((self.records.settings or {}).get("categories", ()))
        for result in kept_results([(path, self.records)]):
            path_of_image = self._images.path_of(result.number)
            yield replace(result, source=path_of_image, categories=categories)

    def close(self) -> None:
        """Close the files."""
        self._close_masks()
        self._run.close()

    def kept_bytes(self) -> int:
        """How long the masks' file is, as recorded; a killed process may have written more."""
        records = self.records.of_image.values()
        return max((r.at + r.length for r in records if r.at is not None and r.length), default=0)

    def _close_masks(self) -> None:
        if self._masks is not None:
            self._masks.close()
            self._masks = None

    @contextmanager
    def _listing(self) -> Iterator[BinaryIO]:
        """The images' file, which shards share, after what it has is known."""
        path = self.output / FOLDER / IMAGES
        with FileLock(path.with_suffix(".lock")), _appending(path) as file:
            if file.tell() != self._listed_bytes:  # another shard has listed images
                for entry in read_entries(self.output):
                    self._images.keep(entry)
            yield file
            file.flush()
            self._listed_bytes = file.tell()

    def _write(self, values: Mapping[str, Any]) -> None:
        self._run.write(_line(values))
        self._run.flush()


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"


def _appending(path: Path, end: int | None = None) -> BinaryIO:
    """A file to add to, cut off after its last whole line, or where it is said. Raises OSError."""
    kept = whole_bytes(path) if end is None else end
    file = path.open("ab")
    file.truncate(kept)
    file.seek(kept)
    return file


def holder_file(output: Path, shard: Shard) -> Path:
    """The file that says who has the record of a shard, while anybody has."""
    return holder_beside(output / FOLDER / f"{shard.file('run')}.lock")
