"""Candidates: prompt the model at every point of every crop. Costly, and knows the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.host import in_own_precision
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.region import Region
from amg_cli.core.timings import count, timed
from amg_cli.generation.arguments import check_arguments
from amg_cli.generation.drawing import DrawnMask, draw_masks
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.on_device import propose_on_device
from amg_cli.generation.parallel import in_parallel, nb_workers
from amg_cli.generation.refining import refined
from amg_cli.generation.select import high_pred_iou, is_stable
from amg_cli.generation.views import views
from amg_cli.models.devices import is_cpu
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

# Prompts are decoded in groups of one size (the last is padded), so that a prompt's result depends
# neither on points_per_batch nor on its neighbours' number. A group is so many prompts as have this
# many embedding cells together, which is 16 for the published models, and at most MAX_GROUP: the
# tokens' own weights are read once a group, and the prompts' images must stay in a cache.
CELLS_A_GROUP, MAX_GROUP = 16 * 4096, 64

T = TypeVar("T")


@dataclass(frozen=True)
class LowRes:
    """Masks that pass the score, at low resolution.

    low_res (K, h, w) logits; pred_iou (K,); prompt (K,): the index of each mask's point
    """

    low_res: Tensor
    pred_iou: Tensor
    prompt: Tensor


def propose(
    model: Sam,
    image_rgb: ImageLike,
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
    roi: Any = None,
) -> Candidates:
    """Every mask that passes the thresholds and ends at no inner edge of its crop, for `select`.

    Of the settings only the grid's, the crops', the thresholds and the offset matter here.
    Arguments and errors as of `generate`.
    Source: the reference generator, steps 1 to 7.
    """
    check_arguments(image_rgb, model, config)
    return candidates_for(model, image_rgb, config.for_all_candidates(), point_grids, roi)


@in_own_precision
@torch.inference_mode()
def candidates_for(
    model: Sam,
    image_rgb: ImageLike,
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
    roi: Any = None,
) -> Candidates:
    """As `propose`; but on a GPU without those that `select` would drop by the same settings.

    They are suppressed there, so that they need no RLE.
    """
    check_arguments(image_rgb, model, config)
    pixels = as_rgb(image_rgb)
    image_hw = (pixels.shape[0], pixels.shape[1])
    looks = views(image_hw, config, point_grids)
    about = replace(
        Candidates.empty(), nb_views=len(looks), image_hw=image_hw, proposed_with=config
    )
    if roi is not None:
        region = Region.of(roi)
        looks = [view.within(region, image_hw) for view in looks]
    parts = [about]
    for view in looks:
        if not len(view.unit_grid):  # all of its points lie out of the region
            continue
        encoded = EncodedView.of(model, pixels, view, use_m2m=config.use_m2m)
        if is_cpu(model.device):
            parts += _propose_on_cpu(model, encoded, config)
        else:
            parts.append(propose_on_device(model, encoded, config))
    return Candidates.concat(parts)


def _propose_on_cpu(model: Sam, crop: EncodedView, config: GenerationConfig) -> list[Candidates]:
    """The candidates of one batch of points after another."""

    def measured(passing: LowRes) -> Candidates:
        """Without what they were drawn from, which is a batch's alone."""
        return _measure(passing, crop, model.config.mask_threshold, config)[0]

    return _in_batches(model, crop, config, measured)


@in_own_precision
@torch.inference_mode()
def propose_with_logits(
    model: Sam, crop: EncodedView, config: GenerationConfig
) -> tuple[Candidates, Tensor]:
    """As `propose`, of one view; and the logits of its K candidates, (K, h, w), on the CPU.

    These are a quarter of a megabyte a mask for the published models.
    """

    def drawn(passing: LowRes) -> tuple[Candidates, Tensor]:
        """The candidates of a batch, and their logits."""
        found, places = _measure(passing, crop, model.config.mask_threshold, config)
        return found, passing.low_res[places]

    candidates, low_res = zip(*_in_batches(model, crop, config, drawn), strict=True)
    return Candidates.concat(candidates), torch.cat(low_res)


def _in_batches(
    model: Sam, crop: EncodedView, config: GenerationConfig, of_batch: Callable[[LowRes], T]
) -> list[T]:
    """What is made of the masks of each batch of points; several are worked on at once.

    A batch is whole groups, as many as a worker's share of points_per_batch needs.
    """
    size = min(MAX_GROUP, max(1, CELLS_A_GROUP // crop.embedding.nb_cells))
    groups = list(enumerate(torch.split(crop.input_xy(), size)))
    at_a_time = -(-config.points_per_batch // (size * nb_workers()))

    def from_group(first: int) -> T:
        """That of the groups from `first` on."""
        return of_batch(_decode(model, crop, config, groups[first : first + at_a_time], size))

    return in_parallel(from_group, range(0, len(groups), at_a_time))


def _decode(
    model: Sam,
    crop: EncodedView,
    config: GenerationConfig,
    groups: Sequence[tuple[int, Tensor]],
    size: int,
) -> LowRes:
    """Decode groups of up to `size` points, numbered, and draw the masks that pass the score.

    They are on the CPU, wherever the model is.
    """
    numbers = torch.arange(size, dtype=torch.int64, device="cpu")
    labels = torch.full((size, 1), FOREGROUND, dtype=torch.int64, device="cpu")
    low_res, pred_iou, prompt = [], [], []
    for number, group in groups:
        padded = group[numbers.clamp(max=len(group) - 1)]
        with timed("prompts"):
            prompts = Prompts(padded[:, None].to(model.device), labels.to(model.device))
            decoded = model.decode(crop.embedding, prompts)
        if crop.for_masks is not None:
            least = config.pred_iou_thresh if config.pred_iou_thresh > 0 else None
            decoded = refined(model, crop.for_masks, prompts, decoded, over=least)
        keep = high_pred_iou(decoded.scores, config)
        keep[len(group) :] = False
        with timed("logits"):
            low_res.append(decoded.logits(keep))
        count("prompts", len(group))
        count("candidates", len(group) * keep.shape[1])
        pred_iou.append(decoded.scores[keep])
        prompt.append(number * size + keep.nonzero()[:, 0])
    return LowRes(torch.cat(low_res).cpu(), torch.cat(pred_iou).cpu(), torch.cat(prompt).cpu())


def _measure(
    passing: LowRes, crop: EncodedView, threshold: float, config: GenerationConfig
) -> tuple[Candidates, Tensor]:
    """Masks at the image's size, but those that are unstable, empty or cut by the crop's edge.

    -> K candidates, and which of those passing they are: (K,)
    """
    rles, boxes, areas, stability, kept = [], [], [], [], []
    masks = draw_masks(crop.frame, passing.low_res, threshold, config.stability_score_offset)
    for i in range(len(passing.low_res)):
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
    count("after IoU", len(passing.low_res))
    count("after stability", len(rles))
    in_image = torch.tensor(boxes, dtype=torch.int64, device="cpu").view(-1, 4)
    boxes_xyxy = crop.in_crop(in_image)
    scores = torch.tensor(stability, dtype=torch.float32, device="cpu")
    areas_px = torch.tensor(areas, dtype=torch.int64, device="cpu")
    candidates = crop.candidates(
        rles, boxes_xyxy, areas_px, passing.pred_iou[kept], scores, passing.prompt[kept]
    )
    is_whole = ~crop.is_cut(boxes_xyxy)
    return candidates[is_whole], torch.tensor(kept, dtype=torch.int64, device="cpu")[is_whole]


def _changes(mask: DrawnMask, crop: EncodedView) -> NDArray[np.int64]:
    """Where in the image a mask of a crop changes; no more of it is in one piece than a strip."""
    place = (crop.top_left[0] + mask.top_left[0], crop.top_left[1] + mask.top_left[1])
    return rle_codec.changes(mask.strips(), place, crop.image_hw)
