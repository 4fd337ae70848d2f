"""A run over many images: what is left of it, and the record of what is done."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amg_cli.batch.cloud.place import UploadError
from amg_cli.batch.commit import check_writable, recover
from amg_cli.batch.earlier_records import completed
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.listing import Listing
from amg_cli.batch.manifest import Manifest
from amg_cli.batch.sources.address import Facts
from amg_cli.batch.sources.images import Source
from amg_cli.batch.sources.objects import with_facts
from amg_cli.batch.storage import OnDisk
from amg_cli.batch.writing import cannot_write, make_folder, write_run_files
from amg_cli.core.errors import OutputError
from amg_cli.formats.format import FormatOptions, ImageFormat, RunFormat, used_options
from amg_cli.formats.manifest import (
    Entry,
    Record,
    RunRecords,
    Shard,
    read_entries,
    read_records,
)
from amg_cli.formats.table import image_formats, run_formats
from amg_cli.weights.cache import sha256_of

WAYS_OUT = "`on_exists` overwrite, or another `output`"
OnExists = Literal["error", "skip", "overwrite"]
_PHRASES = {"task": "the task"}  # of settings that are no options
_LISTED = 16  # of a list, so many are named
# What becomes of an image that is listed: work, or nothing as it is done, has failed before, or has
# output of unknown origin.
Status = Literal["to do", "done", "failed", "exists"]


@dataclass(frozen=True)
class Plan:
    """What a run is to write.

    output:   the run's folder
    formats:  their names, as in `formats/table.py`
    settings: all that decides the masks, by name, in types that JSON has
    options:  what the user says of how masks are kept
    on_exists: what is done with output that no recorded run has made; "overwrite" also starts anew
        where a run has ended or had other settings
    shard:    the part of the images to do
    retry_failed: do again what has failed before
    taken:    names in the run's folder that no image's output may have
    storage:  where what is written is to lie
    """

    output: Path
    formats: tuple[str, ...]
    settings: Mapping[str, Any]
    options: FormatOptions = FormatOptions()  # noqa: RUF009 - it is frozen
    on_exists: OnExists = "error"
    shard: Shard = Shard()  # noqa: RUF009 - it is frozen
    retry_failed: bool = False
    taken: tuple[str, ...] = ()
    storage: OnDisk = OnDisk()  # noqa: RUF009 - it has no state

    @property
    def is_far(self) -> bool:
        """Whether the outputs go to the cloud."""
        return self.storage.place is not None

    @property
    def image_formats(self) -> list[ImageFormat]:
        """Those that keep an image's masks in outputs of its own."""
        return image_formats(self.formats)

    @property
    def run_formats(self) -> list[RunFormat]:
        """Those that are one file for the whole run."""
        return run_formats(self.formats)

    @property
    def run_files(self) -> list[RunFormat]:
        """Those of them that this run writes: a shard leaves them to `merge`."""
        return self.run_formats if self.shard.count == 1 else []

    @property
    def reserved(self) -> set[str]:
        """Names whose outputs would lie where the run has its own files, or a format its folder."""
        suffixes = [format_.suffix for format_ in self.image_formats if not format_.folder]
        if not suffixes:  # images have nothing in the run's own folder
            return set()
        own = {format_.folder for format_ in self.image_formats if format_.folder}
        own |= {format_.file_name for format_ in self.run_formats} | set(self.taken)
        ends = [(name, suffix) for name in own for suffix in suffixes if name.endswith(suffix)]
        # An image of a folder of such a name would lie in it, so that the whole name is taken too.
        return own | {name.removesuffix(suffix) for name, suffix in ends}

    def targets(self, name: str) -> list[str]:
        """Where the outputs of an image go."""
        return [format_.target(self.output, name) for format_ in self.image_formats]

    def has_output(self, name: str) -> bool:
        """Whether there is any output of that name. A name the system refuses has none."""
        return any(map(self.storage.exists, self.targets(name)))

    def recorded(self) -> dict[str, Any]:
        """What a run's record begins with."""
        used = used_options([*self.image_formats, *self.run_formats], self.options)
        return {"format": sorted(self.formats), **used, **self.settings}


class Run:
    """A run whose output folder this process holds."""

    def __init__(self, plan: Plan, manifest: Manifest) -> None:
        self._plan = plan
        self._manifest = manifest
        self._recovered: set[Path] = set()

    @staticmethod
    @contextmanager
    def opened(plan: Plan) -> Iterator[Run]:
        """The run in its folder, begun or gone on with.

        Raises OutputError where the folder cannot be used, or another process has it, or what it
        has was made with other settings and is not to be replaced.
        """
        make_folder(plan.output)
        check_writable(plan.output)
        with (
            Manifest.held(plan.output, plan.shard, plan.reserved) as manifest,
            plan.storage.sending(manifest.kept_bytes),
        ):
            run = Run(plan, manifest)
            run._begin()
            yield run

    def listed(self, sources: Sequence[Source]) -> list[tuple[Source, Entry]]:
        """The images that are this shard's, with their numbers and names."""
        entries = self._manifest.list_images(sources, self._plan.has_output)
        self._plan.storage.listed()
        pairs = zip(sources, entries, strict=True)
        mine = [(source, entry) for source, entry in pairs if _is_in(self._plan.shard, entry)]
        names = {entry.name.rpartition("/")[0] for _, entry in mine}
        rooms = {"", *(format_.folder for format_ in self._plan.image_formats)}
        folders = {self._plan.output / room / name for room in rooms for name in names}
        recover(folders - self._recovered)
        self._recovered |= folders
        return with_facts(mine, self._manifest.records.of_image)

    def status(self, source: Source, entry: Entry) -> Status:
        """What is to become of an image."""
        record = self._manifest.records.of_image.get(entry.number)
        return _status(self._plan, source, entry, record)

    def replacing(self, entries: Iterable[Entry]) -> None:
        """Images are about to be done, of which some may be recorded.

        On a disk an image's output is replaced in one step; in the cloud its record goes first.
        Raises OutputError.
        """
        plan = self._plan
        try:
            if plan.is_far and self._manifest.take_back(entry.number for entry in entries):
                plan.storage.save()
        except OSError as error:
            raise cannot_write(plan.output, error) from error

    def job(self, source: Source, entry: Entry) -> Job:
        """An image as work. What is at its targets is of this run, or to be replaced."""
        return Job(
            source=source.where,
            targets=tuple(map(Path, self._plan.targets(entry.name))),
            number=entry.number,
            name=entry.name,
            file_name=entry.file_name,
            overwrite=True,
            replaces=self._plan.is_far and self._plan.has_output(entry.name),
            fault=source.fault,
            data_set_id=source.id,
        )

    def record(self, outcome: Outcome) -> None:
        """Record what became of a job, whose outputs are in place; not if they could not be sent.

        Raises the error of an outcome that ends the run, unrecorded, so that it is done again;
        OutputError where the record cannot be written.
        """
        if isinstance(outcome.error, OutputError):
            raise outcome.error
        self._plan.storage.check()
        if isinstance(outcome.error, UploadError):
            return
        at = length = None
        try:
            if outcome.result is not None and self._plan.run_formats:
                at, length = self._manifest.keep(outcome.result)
            self._manifest.record(_record(outcome, at, length))
        except OSError as error:
            raise cannot_write(self._plan.output, error) from error

    def finish(self) -> list[Path]:
        """Write the files of the whole run, if it has any and this is no shard. -> those files.

        Raises OutputError where they cannot be written; what is recorded stays.
        """
        plan, ended = self._plan, self._manifest.records.ended
        path_of = {format_: plan.output / format_.file_name for format_ in plan.run_files}
        missing = [f for f, path in path_of.items() if not (ended and plan.storage.exists(path))]
        files = [path_of[format_] for format_ in missing]
        try:
            if missing:
                plan.storage.complete_masks()
                write_run_files(plan.output, missing, self._manifest.results(), plan.options)
                plan.storage.put(files)
            self._manifest.end()
        except OSError as error:
            raise cannot_write(plan.output, error) from error
        plan.storage.finish()
        return files

    def _begin(self) -> None:
        plan, records, wanted = self._plan, self._manifest.records, self._plan.recorded()
        overwrite = plan.on_exists == "overwrite"
        if records.settings is None:
            files = [plan.output / format_.file_name for format_ in plan.run_files]
            there = [file for file in files if plan.storage.exists(file)]
            if there and not overwrite:
                cause = "exists, and no record says what made it"
                raise OutputError(plan.storage.shown(there[0]), cause, f"give {WAYS_OUT}")
        elif different := differences(records.settings, wanted):
            made = any(r.outcome == "done" for r in records.of_image.values())
            if made and not overwrite:
                cause = f"what is in it was made with {'; '.join(different)}"
                raise OutputError(
                    plan.storage.shown(plan.output), cause, f"give the same, {WAYS_OUT}"
                )
        elif not (overwrite and records.ended):
            return
        try:
            with plan.storage.beginning():
                self._manifest.begin(wanted)
        except OSError as error:
            raise cannot_write(plan.output, error) from error


def preview(plan: Plan, sources: Sequence[Source]) -> list[tuple[Source, Status]]:
    """What is to become of this shard's images in a run, which is not begun."""
    images = Listing(read_entries(plan.output), plan.reserved)
    records = read_records(plan.output, plan.shard)
    if records.settings != plan.recorded():
        records = RunRecords()
    images.add(sources, plan.has_output)
    pairs = [(source, images[source]) for source in sources]
    return [
        (source, _status(plan, source, entry, records.of_image.get(entry.number)))
        for source, entry in pairs
        if _is_in(plan.shard, entry)
    ]


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A phrase for each setting that is another than it was: what it was, and is.

    One that a record lacks, of an older version, is as now; but for those that it had not yet.
    """
    earlier = completed(earlier)
    different = [name for name in now if name in earlier and earlier[name] != now[name]]
    return [
        f"{_PHRASES.get(name, f'`{name}`')} {_short(earlier[name])}, now {_short(now[name])}"
        for name in different
        if name != "categories"  # which follow from the detections, or the classes
    ]


def _status(plan: Plan, source: Source, entry: Entry, record: Record | None) -> Status:
    if record is None or _changed(source, record):
        made_elsewhere = record is None and entry.existed and plan.has_output(entry.name)
        return "exists" if made_elsewhere and plan.on_exists != "overwrite" else "to do"
    if record.outcome == "failed":
        return "to do" if plan.retry_failed else "failed"
    # There are no folders in the cloud: of an empty one there is nothing.
    empty = plan.is_far and record.masks == 0
    there = (
        plan.storage.exists(format_.target(plan.output, entry.name))
        for format_ in plan.image_formats
        if format_.suffix or not empty
    )
    return "done" if all(there) else "to do"


def _is_in(shard: Shard, entry: Entry) -> bool:
    """Whether an image is of a shard: by its name, whatever others there are."""
    return zlib.crc32(os.fsencode(entry.name)) % shard.count == shard.index - 1


def _changed(source: Source, record: Record) -> bool:
    """Whether an image's file is another than was read."""
    if source.url or source.fault:
        facts = source.facts
        return facts not in (None, Facts(), Facts(record.bytes, record.mtime_ns))
    try:
        status = os.stat(source.file)  # noqa: PTH116 - of text, for speed
    except OSError:
        return False  # what is done of it stays
    if (status.st_size, status.st_mtime_ns) == (record.bytes, record.mtime_ns):
        return False
    if status.st_size != record.bytes or record.sha256 is None:
        return True
    try:
        return sha256_of(Path(source.file)) != record.sha256
    except OSError:
        return False


def _record(outcome: Outcome, at: int | None, length: int | None) -> Record:
    result, file = outcome.result, outcome.file
    return Record(
        number=outcome.job.number,
        outcome="failed" if result is None else "done",
        bytes=file.bytes,
        mtime_ns=file.mtime_ns,
        sha256=file.sha256,
        masks=None if result is None else len(result.masks),
        seconds=round(outcome.seconds, 3),
        error=None if outcome.error is None else str(outcome.error),
        at=at,
        length=length,
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        if len(value) <= _LISTED:
            texts = [str(each) for each in value]
            return (", " if any(" " in text for text in texts) else " ").join(texts)
        mark = zlib.crc32(json.dumps(value).encode())  # of two that begin alike
        return f"{' '.join(map(str, value[:3]))} … ({len(value)}, {mark:08x})"
    if isinstance(value, str):
        return value[:8] if len(value) == 64 else value
    return "not given" if value is None else json.dumps(value)
