"""The two kinds of truth, COCO's and BSDS500's, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from amg_cli.core.errors import InputError
from amg_cli.core.mask import Mask
from amg_cli.evaluate.partitions import read_bsds
from amg_cli.evaluate.quality import PartitionQuality, Scores, SegmentQuality
from amg_cli.evaluate.segments import mean
from amg_cli.evaluate.truth import TrueImage, read_coco


class Case(Protocol):
    """An image with truth. file_name: of the image, or its stem where the suffix is not known."""

    @property
    def file_name(self) -> str:
        """Which image it is."""


class Scorer(Protocol):
    """Truth for a number of images, and what has been found out about their masks."""

    @property
    def cases(self) -> Sequence[Any]:
        """Each image's `Case`."""

    def add(self, case: Any, masks: Sequence[Mask]) -> dict[str, float]:
        """Score the masks of an image, once. -> its own figures.

        Raises InputError for masks of another size.
        """

    def scores(self) -> Scores:
        """The figures of all images so far."""


@dataclass
class CocoScorer:
    """Against true segments, from a COCO file."""

    cases: Sequence[TrueImage]
    quality: SegmentQuality = field(default_factory=SegmentQuality)

    def add(self, case: TrueImage, masks: Sequence[Mask]) -> dict[str, float]:
        """Score the masks of an image, once. -> its own figures."""
        _check_size(case.file_name, masks, case.size_hw)
        found = self.quality.add(case, masks)
        return {
            "segments": len(found.best_iou),
            "masks": found.nb_masks,
            "mean best IoU": mean(found.best_iou),
            "coverage": found.coverage,
            "duplicates": found.duplicates,
        }

    def scores(self) -> Scores:
        """The figures of all images so far."""
        return self.quality.scores()


@dataclass(frozen=True)
class BsdsImage:
    """An image whose annotators' partitions are in a file."""

    path: Path

    @property
    def file_name(self) -> str:
        """The image's stem, as the truth does not know its suffix."""
        return self.path.stem


@dataclass
class BsdsScorer:
    """Against annotators' partitions, from a folder of BSDS500's."""

    cases: Sequence[BsdsImage]
    quality: PartitionQuality = field(default_factory=PartitionQuality)

    def add(self, case: BsdsImage, masks: Sequence[Mask]) -> dict[str, float]:
        """Score the masks of an image, once. -> its own figures."""
        truths = read_bsds(case.path)
        _check_size(case.file_name, masks, truths[0].shape)
        found = asdict(self.quality.add(truths, masks))
        figures = {
            f"{name.replace('_', ' ')} {of}": value
            for name, measure in found.items()
            for of, value in measure.items()
        }
        return {"masks": len(masks)} | figures

    def scores(self) -> Scores:
        """The figures of all images so far."""
        return self.quality.scores()


def open_truth(path: Path, limit: int | None = None) -> CocoScorer | BsdsScorer:
    """The scorer for a COCO file, or for a folder of `ID.npz`; of its first `limit` images.

    Raises InputError where there is no truth.
    """
    if not path.is_dir():
        return CocoScorer(read_coco(path)[:limit])
    files = sorted(path.glob("*.npz"))
    if not files:
        raise InputError(path, "no .npz in it", "give a COCO file, or a folder of BSDS500's truth")
    return BsdsScorer([BsdsImage(file) for file in files][:limit])


def _check_size(file_name: str, masks: Sequence[Mask], size_hw: tuple[int, ...]) -> None:
    for mask in masks:
        if tuple(mask.rle["size"]) != size_hw:
            cause = f"a mask of (h, w) {tuple(mask.rle['size'])}, where the truth is {size_hw}"
            raise InputError(file_name, cause, "make its masks again, from the truth's own image")
