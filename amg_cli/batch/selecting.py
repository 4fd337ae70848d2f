"""Masks selected anew, without model and images: by other settings, from the candidates that a run
has kept; or by what a review decided of its masks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from amg_cli.batch.convert import image_of, results_of
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ImageError, InputError
from amg_cli.core.mask import Mask
from amg_cli.core.region import Region, check_fits
from amg_cli.formats.candidates import FORMAT
from amg_cli.formats.decisions import Decisions, ImageDecisions
from amg_cli.formats.found import run_format_of
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
            yield ImageError(error.where, error.cause, error.remedy, entry.file_name)


def reviewed(
    source: Path, decisions: Decisions, images: Path | None = None
) -> Iterator[Result | ImageError]:
    """The images of a run, in its order, without the masks that a review has dropped.

    source: a run that has kept candidates, where the decisions have settings; else all that
        `convert.results_of` takes
    images: as of `convert.Wanted`
    An image is an error where the review saw other masks of it, or where it is not there. Errors as
    of `selected` and `convert.results_of`.
    """
    if decisions.settings is None:
        results = results_of(source, images)
    else:
        results = selected(source, decisions.settings, images=images)
    of_name = {each.file_name: each for each in decisions.images}
    folder = source.parent if run_format_of(source) else source
    listed = Counter(entry.file_name for entry in read_entries(folder))
    seen: set[str] = set()
    for result in results:
        if isinstance(result, Result) and (decided := of_name.get(result.file_name)):
            is_one = listed[result.file_name] < 2 and result.file_name not in seen
            yield _without_dropped(result, decided) if is_one else _not_one(result.file_name)
        else:
            yield result
        seen.add(result.file_name)
    for name in (name for name in of_name if name not in seen):
        cause = f"is in the decisions, and {source} has no masks of it"
        yield ImageError(name, cause, "give the run that was reviewed, and `images` as there")


def _not_one(file_name: str) -> ImageError:
    """Of folders that were one run's inputs together."""
    cause = "is the name of several images of the run, so that decisions could be of any"
    return ImageError(file_name, cause, "review a run of each folder")


def _without_dropped(result: Result, decided: ImageDecisions) -> Result | ImageError:
    """The image without some masks; an error where it is not what was decided on."""
    count, again = len(result.masks), "make the view again"
    if decided.masks not in (None, count):
        theirs = "1 mask" if decided.masks == 1 else f"{decided.masks} masks"
        cause = f"the decisions are of {theirs}, and it has {count}"
        return ImageError(result.file_name, cause, again)
    if unknown := decided.drop - {number for number, _ in result.numbered}:
        cause = f"the decisions drop mask {min(unknown)}, which it does not have"
        return ImageError(result.file_name, cause, again)
    return replace(result, masks=_staying(result, decided.drop))


def _staying(result: Result, drop: Set[int]) -> Sequence[Mask]:
    """The masks but those of some numbers. Each keeps its id; its parent is one that stays."""
    parents = {number: mask.parent for number, mask in result.numbered}
    return [
        replace(mask, parent=_nearest_staying(mask.parent, parents, drop))
        for number, mask in result.numbered
        if number not in drop
    ]


def _nearest_staying(
    number: int | None, parents: Mapping[int, int | None], drop: Set[int]
) -> int | None:
    """The mask of a number, or the first that stays of those that it is in; None without any."""
    passed: set[int] = set()  # in the files of others, two may be in each other
    while number is not None and number in drop and number not in passed:
        passed.add(number)
        number = parents[number]
    return None if number in drop else number


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
    return Result(
        entry.number,
        entry.name,
        entry.file_name,
        candidates.image_hw,
        masks,
        source,
        candidates=candidates,
    )
