"""Masks from one format into others, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from amg_cli.batch.commit import check_writable
from amg_cli.batch.naming import Names
from amg_cli.batch.reading import read_image
from amg_cli.batch.run import Plan
from amg_cli.batch.writing import (
    cannot_write,
    check_free,
    make_folder,
    write_image,
    write_run_files,
)
from amg_cli.core.errors import ImageError, InputError
from amg_cli.core.interrupts import check
from amg_cli.formats.format import FormatOptions
from amg_cli.formats.found import Found, find_masks, image_masks_in, results_in, run_format_of
from amg_cli.formats.manifest import (
    FOLDER,
    Entry,
    RunRecords,
    kept_results,
    read_entries,
    read_records,
    shards_in,
)
from amg_cli.formats.result import Result
from amg_cli.formats.table import run_formats

# Files of a whole run in a folder without a record, those that say most of a mask first.
RUN_FILES = ("ndjson", "parquet", "coco")
NO_SIZE = "has no masks, so that its size is not known"


@dataclass(frozen=True)
class Wanted:
    """What is made of masks.

    images: the folder that images are in, by their file names; None where they lie where the run
        that made the masks found them, or are not needed
    """

    output: Path
    formats: Sequence[str]
    options: FormatOptions
    images: Path | None = None
    overwrite: bool = False


def convert(source: Path, wanted: Wanted, report: Callable[[Path | ImageError], object]) -> None:
    """Write what there is at `source`, a run's folder or a file, in other formats.

    report: gets each output, and each image's error
    Raises InputError where there is nothing that is read, OutputError where the output folder
    cannot be written to.
    """
    plan = Plan(wanted.output, tuple(wanted.formats), {}, wanted.options)
    results = results_of(source, wanted.images)
    first = next(results, None)  # nothing is made before it is known that there is something
    make_folder(wanted.output)
    check_writable(wanted.output)
    if not wanted.overwrite:
        check_free(wanted.output, plan.run_formats)

    def each() -> Iterator[Result]:
        """The images, each when its own outputs are written."""
        names = Names(plan.reserved)
        found = first
        while found is not None:
            check()
            if isinstance(found, ImageError):
                report(found)
            else:
                result = _named(found, names)
                _write_own(result, plan, wanted, report)
                yield result
            found = next(results, None)

    try:
        write_run_files(wanted.output, plan.run_formats, each(), wanted.options)
    except OSError as error:
        raise cannot_write(wanted.output, error) from error
    for format_ in plan.run_formats:
        report(wanted.output / format_.file_name)


def _write_own(
    result: Result, plan: Plan, wanted: Wanted, report: Callable[[Path | ImageError], object]
) -> None:
    """Write what an image has of its own; with its pixels, where a format needs them."""
    formats = plan.image_formats
    if any(format_.needs_image for format_ in formats):
        try:
            if not result.source:
                cause = "is where none knows"
                raise ImageError(result.file_name, cause, "give the folder of the `images`")
            result = replace(result, image_rgb=read_image(Path(result.source)))
        except ImageError as error:
            report(error)
            formats = [format_ for format_ in formats if not format_.needs_image]
    for said in write_image(result, wanted.output, formats, wanted.options, wanted.overwrite):
        report(said)


def _named(result: Result, names: Names) -> Result:
    """With a name that is its alone, and leads nowhere out of the output folder."""
    parts = [part for part in result.name.split("/") if part not in ("", ".", "..")]
    suffix = PurePosixPath(result.file_name).suffix or ".image"
    (name,) = names.give(["/".join(parts or ["image"]) + suffix])
    return replace(result, name=name)


def results_of(source: Path, images: Path | None = None) -> Iterator[Result | ImageError]:
    """The images of a run's folder, or of a file of masks, one at a time.

    images: as of `Wanted`
    Of a folder with a record that has kept the masks, those; else of its file of the whole run;
    else of what each image has. Raises InputError where there is nothing.
    """
    if not source.exists():
        raise InputError(source, "no such file or folder", "give a run's `output`, or a file of it")
    if format_ := run_format_of(source):
        yield from (_placed(result, {}, images) for result in results_in(source, format_))
    elif source.is_file():
        yield from _of_file(source, images)
    else:
        yield from _of_folder(source, images)


def _of_file(source: Path, images: Path | None) -> Iterator[Result | ImageError]:
    """Of an image's file; else it should be a COCO data set of another program."""
    found = image_masks_in(source)
    if found is not None:
        yield _of_masks(1, source.stem, found, None, images)
    else:
        (coco,) = run_formats(("coco",))
        yield from (_placed(result, {}, images) for result in results_in(source, coco))


def _of_folder(folder: Path, images: Path | None) -> Iterator[Result | ImageError]:
    entries = {entry.number: entry for entry in read_entries(folder)}
    records = [(shard, read_records(folder, shard)) for shard in shards_in(folder)]
    done = [r for _, each in records for r in each.of_image.values() if r.outcome == "done"]
    results: Iterator[Result] | None = None
    if done and all(record.at is not None for record in done):
        kept: list[tuple[Path, RunRecords]] = [
            (folder / FOLDER / shard.file("masks"), each) for shard, each in records
        ]
        results = kept_results(kept)
    else:
        for format_ in run_formats(RUN_FILES):
            path = folder / format_.file_name
            if results is None and run_format_of(path) is format_:
                results = results_in(path, format_)
    if results is not None:
        yield from (_placed(result, entries, images) for result in results)
        return
    of_name = {entry.name: entry for entry in entries.values()}
    for place, (name, found) in enumerate(sorted(find_masks(folder).items()), 1):
        yield _of_masks(place, name, found, of_name.get(name), images)


def _placed(result: Result, entries: Mapping[int, Entry], images: Path | None) -> Result:
    """With the file of its image, if that is known."""
    entry = entries.get(result.number)
    return replace(result, source=_image_of(result.file_name, entry, images))


def _of_masks(
    place: int, name: str, found: Found, entry: Entry | None, images: Path | None
) -> Result | ImageError:
    """The image of masks that stand alone."""
    number, file_name = (entry.number, entry.file_name) if entry else (place, name)
    source = _image_of(file_name, entry, images)
    masks = found.read()
    if masks:
        height, width = masks[0].rle["size"]
    elif source:
        try:
            height, width = read_image(Path(source)).shape[:2]
        except ImageError as error:
            return error
    else:
        return ImageError(found.path, NO_SIZE, "give the folder of the `images`")
    return Result(number, name, file_name, (height, width), masks, source)


def _image_of(file_name: str, entry: Entry | None, images: Path | None) -> str:
    """The file of an image, its whole path; empty where it is not there."""
    if images is not None:
        path = images / file_name
        if not path.exists():  # as where the name has lost its suffix
            found = sorted(path.parent.glob(f"{path.name}.*")) if path.parent.is_dir() else []
            path = found[0] if found else path
    elif entry is not None:
        path = Path(entry.path)
    else:
        return ""
    return str(path.resolve()) if path.exists() else ""
