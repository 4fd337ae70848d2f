"""Shards of a run, joined: their records, their images' outputs, the files of the whole run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from amg_cli.batch.commit import committed
from amg_cli.batch.manifest import Manifest
from amg_cli.batch.run import Plan, Run, differences
from amg_cli.batch.storage import OnDisk
from amg_cli.batch.writing import cannot_write
from amg_cli.core.errors import InputError
from amg_cli.core.interrupts import check
from amg_cli.formats.format import FormatOptions
from amg_cli.formats.manifest import (
    FOLDER,
    Entry,
    RunRecords,
    Shard,
    kept_results,
    read_entries,
    read_records,
    shards_in,
)


@dataclass(frozen=True)
class Part:
    """One shard: its run's folder, and what it has recorded."""

    folder: Path
    shard: Shard
    records: RunRecords


@dataclass(frozen=True)
class Merged:
    """What a merge came to.

    nb_done, nb_failed: images
    missing: names of the images that no shard has a record of
    absent:  shards that there is nothing of
    written: the files of the whole run
    """

    nb_done: int
    nb_failed: int
    missing: tuple[str, ...]
    absent: tuple[Shard, ...]
    written: tuple[Path, ...]


def merge(
    folders: Sequence[Path],
    output: Path,
    storage: OnDisk = OnDisk(),  # noqa: B008 - it has no state
) -> Merged:
    """Join the shards in `folders` to a run in `output`, which may be one of them.

    storage: where what is written is to lie; in the cloud `output` is the only folder
    The result is that of an unsharded run, ids included. What is missing is left out, and can be
    merged later. Raises InputError where there are no shards, or they are not of one run;
    OutputError where the output folder cannot be written to.
    """
    parts = [part for folder in folders for part in _parts(folder)]
    if not parts:
        raise InputError(folders[0], "no shard of a run in it", "give folders of --shard runs")
    entries = _entries(folders)
    _check_one_run(parts)
    owners = {number: part for part in parts for number in part.records.of_image}
    plan = replace(_plan(output, parts[0].records), storage=storage)
    with (
        Manifest.held(output, Shard()) as manifest,
        storage.sending(manifest.kept_bytes),
    ):
        manifest.adopt(entries)
        with storage.beginning():
            manifest.begin(plan.recorded())
        _copy_records(manifest, parts, plan)
        for entry in entries:
            if entry.number in owners:
                _copy_outputs(entry, owners[entry.number].folder, plan)
        written = Run(plan, manifest).finish()
        outcomes = [record.outcome for record in manifest.records.of_image.values()]
    shards = {part.shard for part in parts}
    count = parts[0].shard.count
    return Merged(
        nb_done=outcomes.count("done"),
        nb_failed=outcomes.count("failed"),
        missing=tuple(entry.file_name for entry in entries if entry.number not in owners),
        absent=tuple(s for i in range(count) if (s := Shard(i + 1, count)) not in shards),
        written=tuple(written),
    )


def _parts(folder: Path) -> Iterator[Part]:
    for shard in shards_in(folder):
        if shard.count > 1:
            yield Part(folder, shard, read_records(folder, shard))


def _entries(folders: Sequence[Path]) -> list[Entry]:
    """The images of all folders. Their paths may differ, as of one disk on two machines."""
    entries: dict[int, Entry] = {}
    for folder in folders:
        for entry in read_entries(folder):
            other = entries.setdefault(entry.number, entry)
            if (other.name, other.file_name) != (entry.name, entry.file_name):
                cause = f"image {entry.number} is {entry.file_name} there, and {other.file_name}"
                raise InputError(folder, f"{cause} elsewhere", "shards need the same images")
    return [entries[number] for number in sorted(entries)]


def _check_one_run(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.shard.count != first.shard.count:
            counts = f"{first.shard.count} and {part.shard.count}"
            raise InputError(part.folder, f"shards of {counts}", "give those of one run")
        different = differences(first.records.settings or {}, part.records.settings or {})
        if different:
            cause = f"shard {part.shard.index} was made with other settings: {'; '.join(different)}"
            raise InputError(part.folder, cause, "do that shard again")


def _plan(output: Path, records: RunRecords) -> Plan:
    settings = dict(records.settings or {})
    formats = settings.pop("format")
    names = [field.name for field in fields(FormatOptions) if field.name in settings]
    options = FormatOptions(**{name: settings.pop(name) for name in names})
    return Plan(output, tuple(formats), settings, options, on_exists="overwrite")


def _copy_records(manifest: Manifest, parts: Sequence[Part], plan: Plan) -> None:
    """The records of all parts, in order of the images, with the masks they have kept."""
    masks = [(part.folder / FOLDER / part.shard.file("masks"), part.records) for part in parts]
    kept = kept_results(masks)
    records = [record for part in parts for record in part.records.of_image.values()]
    try:
        for record in sorted(records, key=lambda record: record.number):
            check()
            at = length = None
            if record.at is not None:
                at, length = manifest.keep(next(kept))
            manifest.record(replace(record, at=at, length=length))
    except OSError as error:
        raise cannot_write(plan.output, error) from error


def _copy_outputs(entry: Entry, folder: Path, plan: Plan) -> None:
    """An image's own outputs, from another folder. Linked where the disk allows it."""
    if folder.resolve() == plan.output.resolve():
        return
    theirs = map(Path, replace(plan, output=folder).targets(entry.name))
    ours = map(Path, plan.targets(entry.name))
    for format_, source, target in zip(plan.image_formats, theirs, ours, strict=True):
        if not source.exists():
            continue
        try:
            with committed(target, overwrite=True) as path:
                if source.is_dir():
                    shutil.copytree(source, path, copy_function=_link)
                elif format_.moved:
                    shutil.copy2(source, path)
                    format_.moved(path, source, target)
                else:
                    _link(source, path)
        except OSError as error:
            raise cannot_write(target, error) from error


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
