"""What a run can do with each image, whatever engine does it: everything, boxes, edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amg_cli.batch.job import Job
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ImageError
from amg_cli.core.mask import Mask
from amg_cli.core.region import Region, check_fits
from amg_cli.generation.everything import generate
from amg_cli.generation.prompts import Prompts, why_outside
from amg_cli.generation.propose import propose
from amg_cli.generation.select import select
from amg_cli.models.sam import Sam
from amg_cli.tasks.boxes import segment_boxes
from amg_cli.tasks.edges import edges

OTHERS = "the other boxes are done"


@dataclass(frozen=True)
class Found:
    """What a task has made of an image.

    candidates, edges: as of `Result`, where the task has them
    refused: what of it could not be done, a line each
    """

    masks: list[Mask]
    candidates: Candidates | None = None
    edges: NDArray[np.float32] | None = None
    refused: tuple[ImageError, ...] = ()


class Task(Protocol):
    """What is done with each image. A plain value, which other processes take."""

    @property
    def frugal(self) -> Task | None:
        """The same with as little in memory at a time as there can be; None where it is that."""

    def found(self, model: Sam, pixels: NDArray[np.uint8], job: Job) -> Found:
        """What is in an image, (H, W, 3). Raises ImageError where it cannot be done at all."""


@dataclass(frozen=True)
class Everything:
    """The masks of everything in an image.

    floors: predicted IoU and stability score over which its candidates are kept too; None where
        they are not
    roi: the part of each image that is looked at; None for all
    """

    config: GenerationConfig
    floors: tuple[float, float] | None = None
    roi: Region | None = None

    @property
    def frugal(self) -> Everything | None:
        """As `Task`."""
        fewer = _frugal(self.config)
        return None if fewer is None else replace(self, config=fewer)

    def found(self, model: Sam, pixels: NDArray[np.uint8], job: Job) -> Found:
        """As `Task`."""
        check_fits(self.roi, job.source, (pixels.shape[0], pixels.shape[1]))
        if self.floors is None:
            return Found(generate(pixels, model, self.config, roi=self.roi))
        floors = self.config.for_all_candidates(self.floors)
        candidates = propose(model, pixels, floors, roi=self.roi)
        return Found(select(candidates, self.config), candidates)


@dataclass(frozen=True)
class InBoxes:
    """The instance in each of the boxes that come with an image.

    where: the file that they are of, and what its boxes are numbered as, for errors
    refine: as of `segment_boxes`
    """

    where: str
    refine: bool | None = None
    frugal: Task | None = None

    def found(self, model: Sam, pixels: NDArray[np.uint8], job: Job) -> Found:
        """As `Task`. A box that lies outside the image is refused, and the others are done."""
        boxes = job.boxes
        if boxes is None or not len(boxes):
            return Found([])
        image_hw = (pixels.shape[0], pixels.shape[1])
        wrong = {
            i: ImageError(f"{self.where} {boxes.numbers[i]}", cause, OTHERS)
            for i, box in enumerate(boxes.boxes_xyxy)
            if (cause := why_outside(Prompts(boxes_xyxy=box[None]), image_hw))
        }
        asked = [i for i in range(len(boxes)) if i not in wrong]
        instances = segment_boxes(pixels, model, boxes.boxes_xyxy[asked], refine=self.refine)
        masks = [
            replace(
                instance.mask,
                category=boxes.categories[i],
                category_id=boxes.category_ids[i],
                category_score=boxes.scores[i],
            )
            for i, instance in zip(asked, instances, strict=True)
            if instance.mask is not None
        ]
        return Found(masks, refused=tuple(wrong.values()))


@dataclass(frozen=True)
class Edges:
    """How much of an edge each pixel of an image is. thin: as of `edges`"""

    config: GenerationConfig
    thin: bool = True

    @property
    def frugal(self) -> Edges | None:
        """As `Task`."""
        fewer = _frugal(self.config)
        return None if fewer is None else replace(self, config=fewer)

    def found(self, model: Sam, pixels: NDArray[np.uint8], job: Job) -> Found:
        """As `Task`."""
        return Found([], edges=edges(pixels, model, self.config, thin=self.thin))


def _frugal(config: GenerationConfig) -> GenerationConfig | None:
    """With one prompt at a time, which changes no mask; None where it is so."""
    return None if config.points_per_batch == 1 else replace(config, points_per_batch=1)
