"""A run as it is looked at: its images, with what their masks were selected from; its failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amg_cli.batch.convert import results_of
from amg_cli.batch.selecting import run_settings, selected
from amg_cli.core.config import GenerationConfig, settings_of_selecting
from amg_cli.core.errors import ImageError, InputError
from amg_cli.formats.manifest import read_entries, read_records, settings_in, shards_in
from amg_cli.formats.result import Result
from amg_cli.weights.zoo import own_settings

# Settings that change masks, or select again after that: a page selects, and does neither.
CHANGE_MASKS = ("min_mask_region_area", "largest_component", "smooth", "disjoint")
# By these masks stay as they are: all of them.
AS_THEY_ARE = GenerationConfig(pred_iou_thresh=0, stability_score_thresh=0, nms="off")


@dataclass(frozen=True)
class Looked:
    """What is looked at.

    config:  by which a page selects the run's own masks from their candidates; `AS_THEY_ARE` of
        masks without those
    of_candidates: whether there are candidates to select from
    changed: settings of the run that a page cannot repeat, for which it shows masks instead
    own:     settings that the model has of its own
    stretch: as of `Reading`, as the run's images were read
    """

    config: GenerationConfig
    of_candidates: bool
    changed: tuple[str, ...] = ()
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stretch: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The config's, but for those that candidates have for good."""
        return {name: getattr(self.config, name) for name in settings_of_selecting()}


def looked_at(source: Path, as_masks: bool = False) -> Looked:
    """How a run can be shown: a folder, or a file of masks.

    as_masks: without selecting from candidates. Raises InputError where there is nothing.
    """
    if not source.exists():
        raise InputError(source, "no such file or folder", "give a run's `output`, or a file of it")
    recorded = next(settings_in(source), {})
    stretch = bool(recorded.get("stretch"))
    masks_alone = Looked(AS_THEY_ARE, of_candidates=False, stretch=stretch)
    if as_masks:
        return masks_alone
    try:
        settings = run_settings(source)
    except InputError:  # no candidates
        return masks_alone
    names = [each.name for each in dataclasses.fields(GenerationConfig)]
    config = GenerationConfig(**{name: settings[name] for name in names if name in settings})
    default = GenerationConfig()
    changed = [name for name in CHANGE_MASKS if getattr(config, name) != getattr(default, name)]
    # Names are given to masks after they are selected, and decide which of them stay.
    changed += [name for name in ("classes", "text") if settings.get(name)]
    if changed:
        return dataclasses.replace(masks_alone, changed=tuple(changed))
    own = own_settings(settings.get("weights"))
    return Looked(config, of_candidates=True, own=own, stretch=stretch)


def images_of(
    source: Path, looked: Looked, images: Path | None = None
) -> Iterator[Result | ImageError]:
    """The images of a run, with candidates where these are shown; then those that have failed.

    images: as of `convert.Wanted`. Raises InputError where there is nothing to look at.
    """
    failures, is_any = list(_failures(source)), False
    try:
        if looked.of_candidates:
            found = selected(source, looked.config, images=images)
        else:
            found = results_of(source, images)
        for image in found:
            is_any = True
            yield image
    except InputError:
        if is_any or not failures:  # where all have failed there are no masks
            raise
    yield from failures


def _failures(source: Path) -> Iterator[ImageError]:
    """The images of which a record says that they failed."""
    names = {entry.number: entry.file_name for entry in read_entries(source)}
    for shard in shards_in(source):
        for number, record in read_records(source, shard).of_image.items():
            if record.outcome == "failed":
                name = names.get(number, f"image {number}")
                yield ImageError(name, record.error or "failed", file_name=name)
