"""Candidates on a GPU, for which nothing waits but a look every thousand prompts.

There a group of prompts is drawn whole, in shapes that do not depend on what is found. When a round
of a thousand prompts is asked for, the CPU looks at their scores; masks that pass are measured, all
at once, and it looks again. Only those that survive suppression become RLEs.
`propose` has the other way, for a CPU: it skips what does not pass, mask by mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import mask_boxes
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.rle import Rle
from amg_cli.core.timings import count, timed
from amg_cli.generation.columns import Columns, concat
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.refining import refined
from amg_cli.generation.select import allowed, high_pred_iou, is_stable, staying_within
from amg_cli.models.kinds import Decoded
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

# Prompts decoded in one call, always so many: the last are padded. A call is a thousand small
# steps, which a CPU takes longer to ask for than a large GPU to do for SMALL_GROUP prompts; GROUP
# takes 5 GB.
GROUP, SMALL_GROUP = 256, 64
LARGE_GPU_BYTES = 12e9
BATCHES_A_ROUND = 16  # batches of prompts between two looks: by default 1,024 prompts, 0.8 GB
PIXELS_AT_A_TIME = 2**26  # of masks at the image's size, or the input's: 0.25 GB of logits


@dataclass(frozen=True)
class Drawn(Columns):
    """K masks at low resolution, on the device: low_res (K, h, w) logits.

    And on the CPU pred_iou (K,), and prompt (K,), the index of each one's point.
    """

    low_res: Tensor
    pred_iou: Tensor
    prompt: Tensor


@dataclass(frozen=True)
class Measured(Columns):
    """K masks, measured at the crop's size.

    nb_pixels, nb_high, nb_low: (K,), those over the threshold, over it plus the stability score's
        offset, and over it less that
    boxes_xyxy: (K, 4)
    """

    nb_pixels: Tensor
    nb_high: Tensor
    nb_low: Tensor
    boxes_xyxy: Tensor

    @property
    def stability_score(self) -> Tensor:
        """(K,) float32, as `DrawnMask.stability_score`."""
        return self.nb_high.float() / self.nb_low.clamp(min=1).float()


def group_size(device: torch.device, config: GenerationConfig) -> int:
    """How many prompts a device decodes in one call. Masks depend on it no more than on the GPU.

    Few where prompts are to be held one at a time, as where memory has run out before.
    """
    if device.type == "cuda" and config.points_per_batch > 1:
        memory = torch.cuda.get_device_properties(device).total_memory
        return GROUP if memory >= LARGE_GPU_BYTES else SMALL_GROUP
    return SMALL_GROUP


def propose_on_device(model: Sam, crop: EncodedView, config: GenerationConfig) -> Candidates:
    """The candidates of a crop, but those that `select` would suppress within it; best first.

    It does so here too, by the same function, so that the others need no RLE.
    """
    threshold, group = model.config.mask_threshold, group_size(model.device, config)
    points_xy = crop.input_xy()
    nb_padded = -(-len(points_xy) // group) * group
    indices = torch.arange(nb_padded, dtype=torch.int64, device="cpu")
    points_xy = points_xy[indices.clamp(max=len(points_xy) - 1)].to(model.device)
    size = -(-BATCHES_A_ROUND * config.points_per_batch // group) * group
    parts, found = [], []
    for first in range(0, nb_padded, size):
        scores, low_res = draw(model, crop, points_xy[first : first + size], group)
        drawn = _likely(scores, low_res, first, config, len(crop.points_xy))
        measured = measure(drawn.low_res, crop, threshold, config).cpu()
        passing = _passing(measured, crop, config)
        parts.append(drawn[passing])
        found.append(measured[passing])
    drawn, measured = concat(parts), concat(found)
    with timed("nms"):
        boxes_xyxy = measured.boxes_xyxy.to(model.device)
        kept = staying_within(boxes_xyxy, drawn.pred_iou, config)
    drawn, measured = drawn[kept], measured[kept]
    with timed("rle"):
        rles = _rles(drawn.low_res, crop, threshold)
    return crop.candidates(
        rles,
        measured.boxes_xyxy,
        measured.nb_pixels,
        drawn.pred_iou,
        measured.stability_score,
        drawn.prompt,
    )


def draw(
    model: Sam, crop: EncodedView, points_xy: Tensor, group: int
) -> tuple[Tensor, list[Tensor]]:
    """Draw every mask of N points, whole groups. Nothing here waits for the device.

    points_xy: (N, 2), of the model's input, on the device
    -> scores (N, M); of each group's masks logits (group * M, h, w)
    """
    scores, drawn = [], []
    labels = torch.full((group, 1), FOREGROUND, dtype=torch.int64, device=points_xy.device)
    for points in torch.split(points_xy, group):
        with timed("prompts"):
            prompts = Prompts(points[:, None], labels)
            decoded: Decoded = model.decode(crop.embedding, prompts)
        if crop.for_masks is not None:
            decoded = refined(model, crop.for_masks, prompts, decoded)
        with timed("logits"):
            drawn.append(decoded.logits())
        scores.append(decoded.scores)
    return torch.cat(scores), drawn


def _likely(
    scores: Tensor, low_res: Sequence[Tensor], first: int, config: GenerationConfig, nb_points: int
) -> Drawn:
    """Of what `draw` gives for the points from `first` on, the masks that pass the score.

    nb_points: of all; those after them are padding
    """
    scores = scores.cpu()
    keep = high_pred_iou(scores, config)
    keep[max(0, nb_points - first) :] = False
    count("prompts", min(len(scores), nb_points - first))
    count("candidates", min(len(scores), nb_points - first) * scores.shape[1])
    count("after IoU", int(keep.sum()))
    of_groups = torch.split(keep.flatten(), [len(part) for part in low_res])
    rows = [part[of.to(part.device)] for part, of in zip(low_res, of_groups, strict=True)]
    return Drawn(torch.cat(rows), scores[keep], first + keep.nonzero()[:, 0])


def measure(
    low_res: Tensor, crop: EncodedView, threshold: float, config: GenerationConfig
) -> Measured:
    """Measure masks (K, h, w). Nothing here waits for the device."""
    offset = config.stability_score_offset
    bounds = (threshold, threshold + offset, threshold - offset)
    parts = []
    for part in torch.split(low_res, _masks_at_a_time(crop)):
        with timed("upsample"):
            logits = crop.frame.to_image_logits(part)
            masks, high, low = (logits > bound for bound in bounds)
            nb_pixels, nb_high, nb_low = (_nb_true(each) for each in (masks, high, low))
            parts.append(Measured(nb_pixels, nb_high, nb_low, mask_boxes(masks)))
    return concat(parts)


def _nb_true(masks: Tensor) -> Tensor:
    """(K, H, W) bool -> (K,) int32. As bytes, which torch adds faster than it does bool."""
    return masks.view(torch.uint8).flatten(1).sum(dim=1, dtype=torch.int32)


def _passing(measured: Measured, crop: EncodedView, config: GenerationConfig) -> Tensor:
    """Which are stable, not empty, and end at no inner edge of the crop: indices."""
    stable = is_stable(measured.stability_score, config) & (measured.nb_pixels > 0)
    count("after stability", int(stable.sum()))
    whole = ~crop.is_cut(measured.boxes_xyxy)
    boxes_xyxy = crop.in_image(measured.boxes_xyxy)
    fits = allowed(measured.nb_pixels, boxes_xyxy, crop.image_hw, config)
    return (stable & whole & fits).nonzero()[:, 0]


def _rles(low_res: Tensor, crop: EncodedView, threshold: float) -> list[Rle]:
    """Of masks (K, h, w), at the image's size."""
    rles: list[Rle] = []
    for part in torch.split(low_res, _masks_at_a_time(crop)):
        masks = crop.frame.to_image_logits(part) > threshold
        rles += encode_on_device(masks, crop.top_left, crop.image_hw)
    return rles


def encode_on_device(
    masks: Tensor, top_left: tuple[int, int], size_hw: tuple[int, int]
) -> list[Rle]:
    """Of masks that are empty but for one place, (K, h, w) bool on any device.

    What comes to the CPU is where a pixel differs from the one before it.
    """
    columns = masks.mT
    if masks.shape[1] < size_hw[0]:
        columns = F.pad(columns, (0, 1))
    flat = F.pad(columns.flatten(1), (1, 1))
    mask, change = (flat[:, 1:] != flat[:, :-1]).nonzero().cpu().numpy().T
    bounds = np.searchsorted(mask, np.arange(len(masks) + 1))
    return [
        rle_codec.from_changes(
            rle_codec.in_mask(change[first:last], columns.shape[2], top_left, size_hw), size_hw
        )
        for first, last in pairwise(bounds)
    ]


def _masks_at_a_time(crop: EncodedView) -> int:
    """So many that neither step of upsampling holds more than PIXELS_AT_A_TIME."""
    frame = crop.frame
    largest = max(height * width for height, width in (frame.image_hw, frame.input_hw))
    return max(1, PIXELS_AT_A_TIME // largest)
