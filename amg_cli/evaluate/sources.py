"""Where the masks of each image with truth are: in what `amg` wrote, or in a COCO results file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from amg_cli.core.errors import InputError
from amg_cli.core.mask import Mask
from amg_cli.evaluate.coco_results import image_file, read_image_results, split_by_image
from amg_cli.evaluate.scorers import CocoScorer, Scorer
from amg_cli.formats.found import (
    Found,
    find_masks,
    masks_in_run_file,
    masks_of,
    run_format_of,
)

Sources = dict[str, Callable[[], list[Mask]]]  # by a case's file name; only images with masks


def open_masks(path: Path, scorer: Scorer, scratch: Path) -> Sources:
    """What reads the masks of each case, best first, where there are any.

    path:    a folder that `amg` wrote, its file of a whole run, or a COCO results file
    scratch: an empty folder to keep a results file in, by image
    Raises InputError where there are no masks, or where it is not clear whose they are.
    """
    if not path.is_file():
        return _of_cases(find_masks(path), scorer)
    if format_ := run_format_of(path):
        return _of_cases(masks_in_run_file(path, format_), scorer)
    return _in_results(path, scorer, scratch)


def _in_results(path: Path, scorer: Scorer, scratch: Path) -> Sources:
    if not isinstance(scorer, CocoScorer):
        cause = "a results file names images by an id, which this truth does not have"
        raise InputError(path, cause, "give a run's `output`")
    split_by_image(path, scratch)
    files = [(case, image_file(scratch, case.image_id)) for case in scorer.cases]
    return {
        case.file_name: partial(read_image_results, file, case.size_hw)
        for case, file in files
        if file.exists()
    }


def _of_cases(found: dict[str, Found], scorer: Scorer) -> Sources:
    owners: dict[Found, str] = {}
    for case in scorer.cases:
        there = masks_of(found, case.file_name)
        if there is None:
            continue
        owner = owners.setdefault(there, case.file_name)
        if owner != case.file_name:
            cause = f"the masks of {owner}, or of {case.file_name}?"
            raise InputError(there.path, cause, "write them with `recursive`")
    return {name: there.read for there, name in owners.items()}
