"""Images of a run as a page or a sheet shows them: with photographs, and beside another run's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amg_cli.core.errors import AmgError, ImageError, InputError, OutputError

if TYPE_CHECKING:
    from amg_cli.batch.reading import Reading
    from amg_cli.batch.viewing import Looked
    from amg_cli.cli.viewing import Wanted
    from amg_cli.core.mask import Mask
    from amg_cli.formats.found import Found
    from amg_cli.formats.result import Result
    from amg_cli.viewer.writing import Pictured, Unpictured

LARGE_PX = 2**25  # of images over this, only one is in memory at a time
SHEET_PX = 640  # of a picture on a sheet, before it is scaled to its place


@dataclass
class Pictures:
    """What becomes of images for their pictures; and what could not be shown. Used by threads.

    others:  the masks of the other run, by the image's name; None where there is none
    is_run:  whether that has a record, so that its images have the names that ours have
    unseen:  photographs that are not to be had; faults of the other run's masks
    """

    reading: Reading
    others: Mapping[str, Found] | None = None
    is_run: bool = False
    unseen: list[ImageError] = field(default_factory=list)
    not_compared: list[ImageError] = field(default_factory=list)
    _large: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def of(wanted: Wanted, looked: Looked) -> Pictures:
        """As wanted. Raises InputError where there is no other run."""
        from amg_cli.batch.reading import Reading
        from amg_cli.formats.found import find_masks
        from amg_cli.formats.manifest import settings_in

        reading = wanted.reading or Reading(stretch=looked.stretch)
        if wanted.against is None:
            return Pictures(reading)
        is_run = next(settings_in(wanted.against), None) is not None
        return Pictures(reading, find_masks(wanted.against), is_run)

    def pictured(self, image: Result | ImageError) -> Pictured | Unpictured:
        """With its pixels, where they can be read, and with the masks of the other run."""
        from amg_cli.batch.convert import fault_of, with_pixels
        from amg_cli.viewer.writing import Pictured, Unpictured

        if isinstance(image, ImageError):
            return Unpictured(image.file_name or image.where, image)
        if fault := fault_of(image):
            return Unpictured(image.file_name, fault)
        height, width = image.image_hw
        try:
            with self._large if height * width > LARGE_PX else nullcontext():
                shown = with_pixels(image, self.reading)
        except ImageError as error:
            self.unseen.append(error)
            shown = replace(image, image_rgb=None)
        if self.others is None:
            return Pictured(shown)
        masks = self._others_of(image)
        return Pictured(shown, masks, _alone(shown, masks))

    def thumbnails(
        self, images: Iterable[Result | ImageError], target: Path
    ) -> Iterator[tuple[str, Any]]:
        """Names and small pictures of the images that have a photograph.

        Raises OutputError where `target` is one of the photographs.
        """
        from amg_cli.viewer.pictures import thumbnail

        for image in images:
            result = getattr(self.pictured(image), "result", None)
            if result is not None and os.path.realpath(target) == os.path.realpath(result.source):
                raise OutputError(target, "is one of the images", "give another `sheet`")
            if result is not None and result.image_rgb is not None:
                yield result.file_name, thumbnail(result.image_rgb, result.masks, SHEET_PX)

    def warnings(self) -> Iterator[AmgError]:
        """A line for each kind of fault, as it may be of all images."""
        for errors in (self.unseen, self.not_compared):
            if errors:
                first, *others = errors
                more = f" (and {len(others)} more)" if others else ""
                yield ImageError(first.where, f"{first.cause}{more}", first.remedy)

    def _others_of(self, image: Result) -> list[Mask]:
        """The masks of an image in the other run; none where they are damaged, or of another."""
        from amg_cli.formats.found import masks_of

        others = self.others or {}
        found = others.get(image.name)
        if found is None and not self.is_run:
            found = masks_of(dict(others), image.file_name)
        if found is None:
            return []
        try:
            masks = found.read()
        except InputError as error:
            self.not_compared.append(ImageError(error.where, error.cause, error.remedy))
            return []
        if masks and tuple(masks[0].rle["size"]) != image.image_hw:
            cause = "its masks are of an image of another size"
            self.not_compared.append(ImageError(found.path, cause, "compare runs of one folder"))
            return []
        return masks


def _alone(result: Result, others: list[Mask]) -> tuple[int, int]:
    """How many masks only this run has, and only the other."""
    from amg_cli.evaluate.compare import compare

    found = compare(result.masks, others)
    (ours, theirs), both = found.counts, found.matched[-1]  # at the least of MATCH_AT
    return ours - both, theirs - both
