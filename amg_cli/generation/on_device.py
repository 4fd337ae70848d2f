"""Candidates on a GPU, which nothing waits for inside the loop over prompts.

There a group of prompts is drawn whole and measured at once, in shapes that do not depend on what
is found. The CPU looks when a round of a thousand prompts is done, and only masks that survive
suppression become RLEs.
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
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.select import high_pred_iou, is_stable, staying_within
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

GROUP = 64  # prompts decoded in one call, always this many: the last are padded
BATCHES_A_ROUND = 16  # batches of prompts between two looks: by default 1,024 prompts, 0.8 GB
PIXELS_AT_A_TIME = 2**26  # of masks at the image's size, or the input's: 0.25 GB of logits


@dataclass(frozen=True)
class Measured:
    """K masks, measured at the crop's size.

    pred_iou (K,); boxes_xyxy (K, 4); prompt (K,): the index of each one's point
    nb_pixels, nb_high, nb_low: (K,), those over the threshold, over it plus the stability score's
        offset, and over it less that
    """

    pred_iou: Tensor
    nb_pixels: Tensor
    nb_high: Tensor
    nb_low: Tensor
    boxes_xyxy: Tensor
    prompt: Tensor

    @property
    def stability_score(self) -> Tensor:
        """(K,) float32, as `DrawnMask.stability_score`."""
        return self.nb_high.float() / self.nb_low.clamp(min=1).float()

    def __getitem__(self, index: Tensor) -> Measured:
        """Those that `index` names."""
        return Measured(*(column[index] for column in vars(self).values()))

    def cpu(self) -> Measured:
        """The same on the CPU, which waits for them."""
        return Measured(*(column.cpu() for column in vars(self).values()))

    @staticmethod
    def concat(parts: Sequence[Measured]) -> Measured:
        """All of `parts`, in order."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Measured(*(torch.cat(column) for column in columns))


def propose_on_device(model: Sam, crop: EncodedView, config: GenerationConfig) -> Candidates:
    """The candidates of a crop, but those that `select` would suppress within it; best first.

    It does so here too, by the same function, so that the others need no RLE.
    """
    points_xy = crop.input_xy()
    nb_padded = -(-len(points_xy) // GROUP) * GROUP
    indices = torch.arange(nb_padded, dtype=torch.int64, device="cpu")
    points_xy = points_xy[indices.clamp(max=len(points_xy) - 1)].to(model.device)
    size = -(-BATCHES_A_ROUND * config.points_per_batch // GROUP) * GROUP
    low_res, found = [], []
    for points, prompts in zip(
        torch.split(points_xy, size), torch.split(indices, size), strict=True
    ):
        drawn, measured = measure(model, crop, points, prompts, config)
        measured = measured.cpu()
        passing = _passing(measured, crop, config)
        low_res.append(_rows(drawn, passing))
        found.append(measured[passing])
    count("prompts", len(crop.points_xy))
    candidates = Measured.concat(found)
    with timed("nms"):
        boxes_xyxy = candidates.boxes_xyxy.to(model.device)
        kept = staying_within(boxes_xyxy, candidates.pred_iou, config)
    with timed("rle"):
        rles = _rles(_rows(low_res, kept), crop, model.config.mask_threshold)
    best = candidates[kept]
    return crop.candidates(rles, best.boxes_xyxy, best.pred_iou, best.stability_score, best.prompt)


def measure(
    model: Sam, crop: EncodedView, points_xy: Tensor, prompts: Tensor, config: GenerationConfig
) -> tuple[list[Tensor], Measured]:
    """Draw and measure every mask of some points, whole groups. Nothing here waits for the device.

    points_xy: (N, 2), of the model's input, on the device; prompts: (N,), their indices
    -> logits (K, h, w) of each group; measures of all
    """
    drawn, parts = [], []
    labels = torch.full((GROUP, 1), FOREGROUND, dtype=torch.int64, device=points_xy.device)
    for points, of_group in zip(
        torch.split(points_xy, GROUP), torch.split(prompts, GROUP), strict=True
    ):
        with timed("prompts"):
            decoded = model.decode(crop.embedding, Prompts(points[:, None], labels))
        with timed("logits"):
            low_res = decoded.logits()
        with timed("upsample"):
            found = _counts_and_boxes(low_res, crop, model.config.mask_threshold, config)
        of_mask = of_group.repeat_interleave(decoded.scores.shape[1])
        drawn.append(low_res)
        parts.append(Measured(decoded.scores.flatten(), *found, of_mask))
    return drawn, Measured.concat(parts)


def _counts_and_boxes(
    low_res: Tensor, crop: EncodedView, threshold: float, config: GenerationConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As in `Measured`: nb_pixels, nb_high, nb_low and boxes_xyxy of masks (K, h, w)."""
    offset = config.stability_score_offset
    counts: list[list[Tensor]] = [[], [], []]
    boxes = []
    for part in torch.split(low_res, _masks_at_a_time(crop)):
        logits = crop.frame.to_image_logits(part)
        bounds = (threshold, threshold + offset, threshold - offset)
        for column, bound in zip(counts, bounds, strict=True):
            column.append((logits > bound).sum(dim=(1, 2)))
        boxes.append(mask_boxes(logits > threshold))
    nb_pixels, nb_high, nb_low = (torch.cat(column) for column in counts)
    return nb_pixels, nb_high, nb_low, torch.cat(boxes)


def _passing(measured: Measured, crop: EncodedView, config: GenerationConfig) -> Tensor:
    """Which pass the thresholds, are not empty, and end at no inner edge of the crop: indices."""
    real = measured.prompt < len(crop.points_xy)
    likely = high_pred_iou(measured.pred_iou, config) & real
    stable = is_stable(measured.stability_score, config) & (measured.nb_pixels > 0) & likely
    count("candidates", int(real.sum()))
    count("after IoU", int(likely.sum()))
    count("after stability", int(stable.sum()))
    return (stable & ~crop.is_cut(measured.boxes_xyxy)).nonzero()[:, 0]


def _rows(parts: Sequence[Tensor], index: Tensor) -> Tensor:
    """Rows of `parts`, as if these were one tensor, without making it. index: (K,), on the CPU."""
    sizes = [len(part) for part in parts]
    ends = torch.tensor(sizes, dtype=torch.int64, device="cpu").cumsum(0)
    of_row = torch.searchsorted(ends, index, right=True)
    rows = parts[0].new_empty(len(index), *parts[0].shape[1:])
    for i, part in enumerate(parts):
        mine = (of_row == i).nonzero()[:, 0]
        local = index[mine] - (ends[i] - len(part))
        rows[mine.to(part.device)] = part[local.to(part.device)]
    return rows


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
