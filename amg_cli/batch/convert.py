"""Masks from one format into others, without a model."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from amg_cli.batch.cloud.remote import is_url
from amg_cli.batch.commit import check_writable
from amg_cli.batch.naming import Names
from amg_cli.batch.reading import Reading, read_image, read_picture
from amg_cli.batch.run import Plan
from amg_cli.batch.sources.address import located
from amg_cli.batch.sources.images import IMAGE_SUFFIXES
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
from amg_cli.formats.found import (
    Found,
    image_masks_in,
    masks_of_images,
    nothing_in,
    results_in,
    run_format_of,
)
from amg_cli.formats.manifest import (
    FOLDER,
    Entry,
    RunRecords,
    kept_results,
    read_entries,
    read_records,
    settings_in,
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


def write_results(
    results: Iterator[Result | ImageError],
    wanted: Wanted,
    report: Callable[[Path | ImageError], object],
) -> None:
    """Write images' masks, as `results_of` gives them, in the formats wanted.

    report: gets each output, and each image's error
    Raises OutputError where the output folder cannot be written to.
    """
    plan = Plan(wanted.output, tuple(wanted.formats), {}, wanted.options)
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
            fault = found if isinstance(found, ImageError) else fault_of(found)
            if fault:
                report(fault)
            elif isinstance(found, Result):
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


def fault_of(result: Result) -> ImageError | None:
    """Why an image's masks are none of it, if they are not."""
    for mask in result.masks:
        if tuple(mask.rle["size"]) != result.image_hw:
            height, width = mask.rle["size"]
            cause = f"a mask of {width} x {height} pixels is not of this image's size"
            return ImageError(result.file_name, cause, "mend the masks' file")
    return None


def _write_own(
    result: Result, plan: Plan, wanted: Wanted, report: Callable[[Path | ImageError], object]
) -> None:
    """Write what an image has of its own; with its pixels, where a format needs them."""
    formats = plan.image_formats
    if any(format_.needs_image for format_ in formats):
        try:
            result = with_pixels(result)
        except ImageError as error:
            report(error)
            formats = [format_ for format_ in formats if not format_.needs_image]
    for said in write_image(result, wanted.output, formats, wanted.options, wanted.overwrite):
        report(said)


def with_pixels(result: Result, reading: Reading | None = None) -> Result:
    """With the pixels of its image, which is read. Raises ImageError where it cannot be."""
    if result.image_rgb is not None:
        return result
    if not result.source:
        cause = "is where none knows"
        raise ImageError(result.file_name, cause, "give the folder of the `images`")
    pixels = read_picture(located(result.source), reading or Reading()).pixels
    if pixels.shape[:2] != result.image_hw:
        (height, width), (its, own) = pixels.shape[:2], result.image_hw
        cause = f"has {width} x {height} pixels, and its masks {own} x {its}"
        raise ImageError(result.source, cause, "give the `images` that the masks are of")
    return replace(result, image_rgb=pixels)


def _named(result: Result, names: Names) -> Result:
    """With a name that is its alone, and leads nowhere out; without masks that have no pixel."""
    folders = re.split(r"[/\\]", result.name)
    parts = [part for part in folders if part not in ("", ".", "..") and part[1:2] != ":"]
    suffix = PurePosixPath(result.file_name).suffix or ".image"
    (name,) = names.give(["/".join(parts or ["image"]) + suffix])
    return replace(result, name=name, masks=[mask for mask in result.masks if mask.area_px])


def results_of(source: Path, images: Path | None = None) -> Iterator[Result | ImageError]:
    """The images of a run's folder, or of a file of masks, one at a time.

    images: as of `Wanted`
    Of a folder with a record that has kept the masks, those; else what each image has; else its
    file of the whole run. Masks without a pixel are left out. Raises InputError where there is
    nothing.
    """
    if not source.exists():
        raise InputError(source, "no such file or folder", "give a run's `output`, or a file of it")
    if format_ := run_format_of(source):
        # Beside a run's own file lies its record, which knows where the images are.
        entries = {entry.number: entry for entry in read_entries(source.parent)}
        is_the_runs = source.name == format_.file_name
        results = results_in(source, format_)
        placed = (_placed(each, entries if is_the_runs else {}, images) for each in results)
        yield from _of_the_runs(placed, source.parent) if is_the_runs else placed
    elif source.is_file():
        yield from _of_file(source, images)
    else:
        yield from _of_the_runs(_of_folder(source, images), source)


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
    results = _kept(folder)
    own = {} if results else _finished(masks_of_images(folder), folder, entries)
    if results is None and not own:
        files = [f for f in run_formats(RUN_FILES) if run_format_of(folder / f.file_name) is f]
        if not files:
            raise nothing_in(folder)
        results = results_in(folder / files[0].file_name, files[0])
    for result in results or ():
        yield _placed(result, entries, images)
    of_name = {entry.name: entry for entry in entries.values()}
    new = itertools.count(max(entries, default=0) + 1)  # numbers of what no record lists
    for name, found in sorted(own.items()):
        entry = of_name.get(name)
        yield _of_masks(entry.number if entry else next(new), name, found, entry, images)


def _finished(
    own: Mapping[str, Found], folder: Path, entries: Mapping[int, Entry]
) -> dict[str, Found]:
    """Outputs by name, but for those that a run was about to make: there may be a part of them, in
    a copy of what lay in the cloud.
    """
    records = [read_records(folder, shard).of_image for shard in shards_in(folder)]
    if not records:
        return dict(own)
    done = {n for of_image in records for n, each in of_image.items() if each.outcome == "done"}
    begun = {e.name for e in entries.values() if not e.existed and e.number not in done}
    return {name: found for name, found in own.items() if name not in begun}


def _kept(folder: Path) -> Iterator[Result] | None:
    """The masks that a folder's record has kept, if it has those of all images.

    Of a run whose shards were merged the record of the whole counts; else that of its shards.
    """
    records = [(shard, read_records(folder, shard)) for shard in shards_in(folder)]
    records = [(shard, each) for shard, each in records if each.of_image]
    counts = [shard.count for shard, _ in records]
    parts = [(shard, each) for shard, each in records if shard.count == min(counts)]
    done = [r for _, each in parts for r in each.of_image.values() if r.outcome == "done"]
    if not done or any(record.at is None for record in done):
        return None
    return _read_kept([(folder / FOLDER / shard.file("masks"), each) for shard, each in parts])


def _of_the_runs(
    results: Iterable[Result | ImageError], folder: Path
) -> Iterator[Result | ImageError]:
    """With all categories that the run's record lists, by whose order they are numbered."""
    lists = (settings.get("categories") for settings in settings_in(folder))
    listed = next(filter(None, lists), ())
    for result in results:
        if isinstance(result, ImageError) or result.categories or not listed:
            yield result
        else:
            yield replace(result, categories=tuple(listed))


def _read_kept(parts: list[tuple[Path, RunRecords]]) -> Iterator[Result]:
    try:
        yield from kept_results(parts)
    except (OSError, ValueError) as error:
        raise InputError(parts[0][0], f"damaged: {error}", "convert a file of the run") from error


def _placed(result: Result, entries: Mapping[int, Entry], images: Path | None) -> Result:
    """With the file of its image, if that is known."""
    entry = entries.get(result.number)
    return replace(result, source=image_of(result.file_name, entry, images))


def _of_masks(
    number: int, name: str, found: Found, entry: Entry | None, images: Path | None
) -> Result | ImageError:
    """The image of masks that stand alone."""
    file_name = entry.file_name if entry else name
    source = image_of(file_name, entry, images)
    if source and images is not None and entry is None:
        file_name = os.path.relpath(source, images.resolve())
    try:
        masks = found.read()
        if masks:
            height, width = masks[0].rle["size"]
        elif source:
            height, width = read_image(located(source)).shape[:2]
        else:
            remedy = "give the folder of the `images`"
            return ImageError(found.path, NO_SIZE, remedy, file_name)
    except (InputError, ImageError) as error:
        return ImageError(error.where, error.cause, error.remedy, file_name)
    return Result(number, name, file_name, (height, width), masks, source)


def image_of(file_name: str, entry: Entry | None, images: Path | None) -> str:
    """The file of an image, its whole path, or its address; empty where it is not there."""
    if images is None:
        if entry is not None and is_url(entry.path):
            return entry.path
        path = None if entry is None else Path(entry.path)
    else:
        path = images / file_name
        if not path.is_file():  # as where the name has lost its suffix
            beside = sorted(path.parent.glob(f"{glob.escape(path.name)}.*"))
            path = next((each for each in beside if _is_image_of(each, path.name)), None)
    return str(path.resolve()) if path is not None and path.is_file() else ""


def _is_image_of(path: Path, name: str) -> bool:
    return path.stem == name and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
