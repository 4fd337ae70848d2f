"""Candidates on a GPU, which nothing waits for inside the loop over prompts.

There a group of prompts is drawn whole and measured at once, in shapes that do not depend on what
is found. The CPU looks when all are done; then only masks that survive suppression become RLEs.
`propose` has the other way, for a CPU: it skips what does not pass, mask by mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import mask_boxes, nms
from amg_cli.core.config import GenerationConfig
from amg_cli.core.masks import Candidates
from amg_cli.core.rle import Rle
from amg_cli.core.timings import count, timed
from amg_cli.generation.encoded_crop import EncodedCrop
from amg_cli.generation.select import high_pred_iou, is_stable
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

GROUP = 64  # prompts decoded in one call, always this many: the last are padded
ROUND = 1024  # prompts whose low-resolution masks are held until the CPU looks: 0.8 GB
PIXELS_AT_A_TIME = 2**26  # of masks at the image's size: 0.25 GB of logits


@dataclass(frozen=True)
class Measured:
    """K masks, measured at the crop's size.

    low_res (K, h, w); pred_iou (K,); boxes_xyxy (K, 4); prompt (K,): the index of each one's point
    nb_pixels, nb_high, nb_low: (K,), those over the threshold, over it plus the stability score's
        offset, and over it less that
    """

    low_res: Tensor
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
        """Those that `index`, on the CPU, names; all but their low-resolution masks on the CPU."""
        low_res, *columns = vars(self).values()
        low_res = low_res[index.to(low_res.device)]
        return Measured(low_res, *(column.cpu()[index] for column in columns))

    @staticmethod
    def concat(parts: list[Measured]) -> Measured:
        """All of `parts`, in order."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Measured(*(torch.cat(column) for column in columns))


def propose_on_device(model: Sam, crop: EncodedCrop, config: GenerationConfig) -> Candidates:
    """The candidates of a crop that survive suppression within it, which `select` will repeat."""
    points_xy = crop.input_xy()
    indices = torch.arange(-(-len(points_xy) // GROUP) * GROUP)
    points_xy = points_xy[indices.clamp(max=len(points_xy) - 1)].to(model.device)
    rounds = zip(torch.split(points_xy, ROUND), torch.split(indices, ROUND), strict=True)
    found = Measured.concat(
        [
            _passing(measure(model, crop, points, prompts, config), crop, config)
            for points, prompts in rounds
        ]
    )
    count("prompts", len(crop.points_xy))
    with timed("nms"):
        found = found[nms(found.boxes_xyxy, found.pred_iou, config.box_nms_thresh)]
    with timed("rle"):
        rles = _rles(found.low_res, crop, model.config.mask_threshold)
    return crop.candidates(
        rles, found.boxes_xyxy, found.pred_iou, found.stability_score, found.prompt
    )


def measure(
    model: Sam, crop: EncodedCrop, points_xy: Tensor, prompts: Tensor, config: GenerationConfig
) -> Measured:
    """Every mask of some points, N of them, whole groups. Nothing here waits for the device.

    points_xy: (N, 2), of the model's input, on the device; prompts: (N,), their indices
    """
    parts = []
    labels = torch.full((GROUP, 1), FOREGROUND, device=points_xy.device)
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
        parts.append(Measured(low_res, decoded.scores.flatten(), *found, of_mask))
    return Measured.concat(parts)


def _counts_and_boxes(
    low_res: Tensor, crop: EncodedCrop, threshold: float, config: GenerationConfig
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


def _passing(measured: Measured, crop: EncodedCrop, config: GenerationConfig) -> Measured:
    """Those that pass the thresholds, are not empty, and end at no inner edge of the crop."""
    real = measured.prompt < len(crop.points_xy)
    likely = high_pred_iou(measured.pred_iou, config).cpu() & real
    stable = (is_stable(measured.stability_score, config) & (measured.nb_pixels > 0)).cpu() & likely
    count("candidates", int(real.sum()))
    count("after IoU", int(likely.sum()))
    count("after stability", int(stable.sum()))
    return measured[(stable & ~crop.is_cut(measured.boxes_xyxy.cpu())).nonzero()[:, 0]]


def _rles(low_res: Tensor, crop: EncodedCrop, threshold: float) -> list[Rle]:
    """Of masks (K, h, w), at the image's size."""
    rles: list[Rle] = []
    for part in torch.split(low_res, _masks_at_a_time(crop)):
        masks = crop.frame.to_image_logits(part) > threshold
        rles += rle_codec.encode_on_device(masks, crop.top_left, crop.image_hw)
    return rles


def _masks_at_a_time(crop: EncodedCrop) -> int:
    height, width = crop.frame.image_hw
    return max(1, PIXELS_AT_A_TIME // (height * width))
