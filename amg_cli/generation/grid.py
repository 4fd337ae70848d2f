"""The points of a view through the decoder, in groups, to masks of the image. For a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.timings import count, timed
from amg_cli.generation.columns import Columns, concat
from amg_cli.generation.drawing import DrawnMask, draw_masks
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.parallel import in_parallel, nb_workers
from amg_cli.generation.refining import refined
from amg_cli.generation.select import high_pred_iou, is_stable
from amg_cli.models.kinds import Decoded
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

# Prompts are decoded in groups of one size (the last is padded), so that a prompt's result depends
# neither on points_per_batch nor on its neighbours' number. A group is so many prompts as have this
# many embedding cells together, which is 16 for the published models, and at most MAX_GROUP: the
# tokens' own weights are read once a group, and the prompts' images must stay in a cache.
CELLS_A_GROUP, MAX_GROUP = 16 * 4096, 64

T = TypeVar("T")


@dataclass(frozen=True)
class LowRes(Columns):
    """Masks that are drawn, at low resolution.

    low_res (K, h, w) logits; pred_iou (K,); prompt (K,): the index of each mask's point; number
    (K,): which of its prompt's masks each is
    """

    low_res: Tensor
    pred_iou: Tensor
    prompt: Tensor
    number: Tensor


def group_size(crop: EncodedView) -> int:
    """How many prompts are decoded in one call, always."""
    return min(MAX_GROUP, max(1, CELLS_A_GROUP // crop.embedding.nb_cells))


def in_batches(
    crop: EncodedView,
    config: GenerationConfig,
    prompts: Tensor,
    of_batch: Callable[[Sequence[Tensor]], T],
) -> list[T]:
    """What is made of each batch of prompts; several are worked on at once.

    prompts: (P,), the indices of their points, in order; a batch is some of them in groups, as many
        as a worker's share of points_per_batch needs
    """
    size = group_size(crop)
    groups = torch.split(prompts, size) if len(prompts) else ()
    at_a_time = -(-config.points_per_batch // (size * nb_workers()))

    def from_group(first: int) -> T:
        """That of the groups from `first` on."""
        return of_batch(groups[first : first + at_a_time])

    return in_parallel(from_group, range(0, len(groups), at_a_time))


def decode(model: Sam, crop: EncodedView, config: GenerationConfig, group: Tensor) -> Decoded:
    """Decode a group of prompts, (G,), the indices of their points; padded to a whole group."""
    size = group_size(crop)
    numbers = torch.arange(size, dtype=torch.int64, device="cpu")
    labels = torch.full((size, 1), FOREGROUND, dtype=torch.int64, device="cpu")
    padded = crop.input_xy(group[numbers.clamp(max=len(group) - 1)])
    with timed("prompts"):
        prompts = Prompts(padded[:, None].to(model.device), labels.to(model.device))
        decoded: Decoded = model.decode(crop.embedding, prompts)
    if crop.for_masks is not None:
        least = config.pred_iou_thresh if config.pred_iou_thresh > 0 else None
        decoded = refined(model, crop.for_masks, prompts, decoded, over=least)
    return decoded


def passing_of(config: GenerationConfig, decoded: Decoded, group: Tensor) -> Tensor:
    """Which masks of a padded group pass the score. -> (padded, M) bool; counts them."""
    keep = high_pred_iou(decoded.scores, config)
    keep[len(group) :] = False
    count("prompts", len(group))
    count("candidates", len(group) * keep.shape[1])
    count("after IoU", int(keep.sum()))
    return keep


def draw(
    model: Sam,
    crop: EncodedView,
    config: GenerationConfig,
    groups: Sequence[Tensor],
    keep_of: Callable[[Decoded, Tensor], Tensor],
) -> LowRes:
    """Decode groups of prompts, and draw masks of each, which come on the CPU.

    keep_of: of a group, decoded, which masks are to be drawn, (padded, M) bool
    """
    parts = []
    for group in groups:
        decoded = decode(model, crop, config, group)
        keep = keep_of(decoded, group)
        with timed("logits"):
            low_res = decoded.logits(keep)
        prompt, number = keep.nonzero().cpu().unbind(dim=1)
        parts.append(LowRes(low_res, decoded.scores[keep], group[prompt], number))
    return concat(parts).cpu()


def measure(
    drawn: LowRes, crop: EncodedView, threshold: float, config: GenerationConfig
) -> tuple[Candidates, Tensor]:
    """Masks at the image's size, but those that are unstable, empty or cut by the crop's edge.

    -> K candidates, and which of those drawn they are: (K,)
    """
    rles, boxes, areas, stability, kept = [], [], [], [], []
    masks = draw_masks(crop.frame, drawn.low_res, threshold, config.stability_score_offset)
    for i in range(len(drawn.low_res)):
        with timed("upsample"):
            mask = next(masks)
            score = torch.tensor(mask.stability_score, dtype=torch.float32, device="cpu")
            if not is_stable(score, config):
                continue
        with timed("rle"):
            changes = _changes(mask, crop)
            box_xyxy = rle_codec.box_of_changes(changes, crop.image_hw)
            if box_xyxy is not None:
                rles.append(rle_codec.from_changes(changes, crop.image_hw))
        if box_xyxy is not None:
            boxes.append(box_xyxy)
            areas.append(rle_codec.area_of_changes(changes))
            stability.append(score)
            kept.append(i)
    count("after stability", len(rles))
    in_image = torch.tensor(boxes, dtype=torch.int64, device="cpu").view(-1, 4)
    boxes_xyxy = crop.in_crop(in_image)
    scores = torch.tensor(stability, dtype=torch.float32, device="cpu")
    areas_px = torch.tensor(areas, dtype=torch.int64, device="cpu")
    candidates = crop.candidates(
        rles, boxes_xyxy, areas_px, drawn.pred_iou[kept], scores, drawn.prompt[kept]
    )
    is_whole = ~crop.is_cut(boxes_xyxy)
    return candidates[is_whole], torch.tensor(kept, dtype=torch.int64, device="cpu")[is_whole]


def _changes(mask: DrawnMask, crop: EncodedView) -> NDArray[np.int64]:
    """Where in the image a mask of a crop changes; no more of it is in one piece than a strip."""
    place = (crop.top_left[0] + mask.top_left[0], crop.top_left[1] + mask.top_left[1])
    return rle_codec.changes(mask.strips(), place, crop.image_hw)
