"""Boxes to instances: the mask of what lies in each box, such as a detector's.

Source: Kirillov et al. 2023, "Segment Anything", section 7.4 and its appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amg_cli.core.image import ImageLike
from amg_cli.core.mask import Mask
from amg_cli.generation.arguments import check_model
from amg_cli.generation.parallel import in_parallel, nb_workers
from amg_cli.generation.predict import Encoded, encode_image
from amg_cli.generation.prompted_masks import prompted_masks
from amg_cli.generation.prompts import Prompts, why_outside
from amg_cli.models.devices import is_cpu
from amg_cli.models.sam import Sam

BOXES_AT_A_TIME = 16  # on a CPU by each of those who work side by side
BOXES_AT_A_TIME_ON_GPU = 64


@dataclass(frozen=True)
class Instance:
    """What lies in a box.

    box_xyxy: as given, in pixels of the image
    mask: None where the model finds no pixel
    """

    box_xyxy: tuple[float, float, float, float]
    mask: Mask | None


def segment_boxes(
    image_rgb: ImageLike,
    model: Sam,
    boxes_xyxy: ArrayLike,
    *,
    refine: bool | None = None,
) -> list[Instance]:
    """The instance of each of N boxes, in their order: the model's one mask for a clear prompt.

    image_rgb:  (H, W, 3) uint8, as for `generate`
    boxes_xyxy: (N, 4) numbers, in pixels of the image; N may be 0
    refine: prompt a second time, by the box and the mask found; None for what is better by
        measurement with this model, `model.refines_boxes`

    Raises TypeError or ValueError for an argument of another shape or type, and ValueError for a
    box without area or without a part in the image.
    """
    check_model(model)
    boxes = as_boxes(boxes_xyxy)
    if not len(boxes):
        return []
    refine = model.refines_boxes if refine is None else refine
    encoded = encode_image(model, image_rgb, draw_padding=refine)
    for i, box in enumerate(boxes):
        if cause := why_outside(Prompts(boxes_xyxy=box[None]), encoded.frame.image_hw):
            raise ValueError(f"boxes_xyxy: {cause} (number {i})")
    masks = masks_in_boxes(model, encoded, boxes, refine)
    return [
        Instance((x0, y0, x1, y1), mask)
        for (x0, y0, x1, y1), mask in zip(boxes.tolist(), masks, strict=True)
    ]


def as_boxes(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """(N, 4) float64. Raises TypeError or ValueError for what is no list of boxes."""
    given: Any = Prompts(boxes_xyxy=boxes_xyxy).boxes_xyxy
    if given is None or given.ndim != 2:
        raise ValueError("boxes_xyxy: (N, 4) is wanted, a box each")
    return np.asarray(given, dtype=np.float64)


def masks_in_boxes(
    model: Sam, encoded: Encoded, boxes_xyxy: NDArray[np.float64], refine: bool
) -> list[Mask | None]:
    """The mask of each box, (N, 4), on an encoded image; None where there is no pixel.

    A box's mask does not depend on the others but for rounding.
    """
    size, parts = BOXES_AT_A_TIME_ON_GPU, 1
    if is_cpu(model.device):
        size, parts = BOXES_AT_A_TIME, nb_workers()
    size = min(size, -(-len(boxes_xyxy) // parts))

    def of_part(first: int) -> Sequence[list[Mask]]:
        """Those of some boxes."""
        part = Prompts(boxes_xyxy=boxes_xyxy[first : first + size])
        return prompted_masks(model, encoded, part, multimask=False, refine=refine)

    found = in_parallel(of_part, range(0, len(boxes_xyxy), size))
    return [next(iter(masks), None) for part in found for masks in part]
