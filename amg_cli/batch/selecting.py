"""Masks selected anew from the candidates that a run has kept, without model and images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from amg_cli.batch.convert import image_of
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ImageError, InputError
from amg_cli.core.region import Region, check_fits
from amg_cli.formats.candidates import FORMAT
from amg_cli.formats.manifest import Entry, read_entries, read_records, settings_in, shards_in
from amg_cli.formats.result import Result
from amg_cli.formats.table import CANDIDATES
from amg_cli.generation.select import select

AGAIN = "run amg again with `save_candidates`"


def run_settings(source: Path) -> Mapping[str, Any]:
    """What the run was made with that has kept candidates in its folder; empty if no record says.

    Raises InputError where there are no candidates.
    """
    settings = next(settings_in(source), {})
    kept = CANDIDATES in settings.get("format", (CANDIDATES,))
    if not kept or not (source / FORMAT.folder).is_dir():
        raise InputError(source, "no candidates of a run in it", AGAIN)
    return settings


def selected(
    source: Path,
    config: GenerationConfig,
    roi: Region | None = None,
    images: Path | None = None,
) -> Iterator[Result | ImageError]:
    """The images of a run that has kept candidates, in its order, with masks by other settings.

    images: as of `convert.Wanted`
    A file that is missing or damaged is an error of its image. Raises InputError where there are no
    candidates, ConfigError for a threshold under those that they were kept over.
    """
    run_settings(source)
    for path, entry in _files(source):
        try:
            yield _of_file(path, entry, config, roi, images)
        except (InputError, ImageError) as error:
            yield ImageError(error.where, error.cause, error.remedy)


def _files(source: Path) -> Iterator[tuple[Path, Entry]]:
    """The files of a run's images that are done; then those that no record lists."""
    entries = {entry.number: entry for entry in read_entries(source)}
    done = {
        number
        for shard in shards_in(source)
        for number, record in read_records(source, shard).of_image.items()
        if record.outcome == "done"
    }
    listed = {Path(FORMAT.target(source, e.name)): e for _, e in sorted(entries.items())}
    yield from ((path, entry) for path, entry in listed.items() if entry.number in done)
    folder = source / FORMAT.folder
    others = sorted(set(folder.rglob(f"*{FORMAT.suffix}")) - set(listed))
    for number, path in zip(itertools.count(max(entries, default=0) + 1), others, strict=False):
        name = path.relative_to(folder).as_posix().removesuffix(FORMAT.suffix)
        yield path, Entry(number, name, name, "", existed=False)


def _of_file(
    path: Path, entry: Entry, config: GenerationConfig, roi: Region | None, images: Path | None
) -> Result:
    if not path.is_file():
        raise ImageError(path, "is missing", AGAIN)
    candidates = Candidates.load(path)
    check_fits(roi, entry.file_name, candidates.image_hw)
    masks = select(candidates, config, roi)
    source = image_of(entry.file_name, entry, images)
    return Result(entry.number, entry.name, entry.file_name, candidates.image_hw, masks, source)
