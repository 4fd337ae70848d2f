"""Draw less: of masks that are nearly the same at one pixel in sixteen, only the best few are.

A grid finds most objects many times over, and most of what it draws is unstable or suppressed.
So all masks are first drawn at one logit a cell of the embedding, for a tenth of the work. What is
far from stable there goes. The others are put in clusters, as NMS would, and the best of each are
drawn in full. Masks that are drawn are as they would be anyway; one that is not may be missing.

K counts masks, U the cells that the image covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.timings import timed
from amg_cli.generation.columns import Columns, concat
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.grid import LowRes, decode, draw, in_batches, measure, passing_of
from amg_cli.models.sam import Sam

if TYPE_CHECKING:
    from amg_cli.models.kinds import CoarseDecoded, Decoded

FEWEST_CELLS = 16  # masks of fewer are all drawn, as so few say little
# The best so many of a cluster are drawn; of one of which none stays, then all that look stable. In
# smaller steps there would be less to draw, but small groups of prompts cost as much as whole ones.
BEST_OF_A_CLUSTER = 4
# How far a coarse stability score may lie under the threshold: to be looked at at all, and to be
# drawn where others of the cluster have turned out unstable.
FAR_FROM_STABLE, NEARLY_STABLE = 0.05, 0.01
AT_A_TIME = 1024  # masks that are compared in one product
MASKS_A_PROMPT = 64  # more than any decoder has


@dataclass(frozen=True)
class CoarseMasks(Columns):
    """Masks that pass the score, at one place of each cell.

    inside: (K, U) bool
    nb_high, nb_low: (K,), cells over the two thresholds of the stability score
    pred_iou, prompt, number: (K,), as of `LowRes`
    """

    inside: Tensor
    nb_high: Tensor
    nb_low: Tensor
    pred_iou: Tensor
    prompt: Tensor
    number: Tensor

    def may_be_stable(self, thresh: float, margin: float) -> Tensor:
        """Which have a score not further under `thresh`, or are too small to tell. -> (K,) bool"""
        score = self.nb_high / self.nb_low.clamp(min=1)
        return (score >= thresh - margin) | (self.nb_low < FEWEST_CELLS)


def propose_best(model: Sam, crop: EncodedView, config: GenerationConfig) -> Candidates:
    """The candidates of a view but those that are nearly a better one. For a CPU."""

    def coarse(groups: Sequence[Tensor]) -> CoarseMasks:
        """The masks of a batch."""
        return _coarse_masks(model, crop, config, groups)

    thresh = config.stability_score_thresh
    masks = concat(in_batches(crop, config, crop.prompts(), coarse))
    masks = masks[masks.may_be_stable(thresh, FAR_FROM_STABLE)]
    masks = masks[torch.sort(masks.pred_iou, descending=True, stable=True).indices]
    with timed("nms"):
        clusters = clusters_of(masks.inside, config.coarse_nms_thresh)
        best = _places_in(clusters) < BEST_OF_A_CLUSTER
    found, stay = _drawn(model, crop, config, masks[best])
    settled = torch.isin(clusters, clusters[torch.isin(keys_of(masks), stay)])
    others = masks[~best & ~settled]
    others = others[others.may_be_stable(thresh, NEARLY_STABLE)]
    found_more, stay_too = _drawn(model, crop, config, others)
    in_order = torch.argsort(torch.cat([stay, stay_too]))
    return Candidates.concat([found, found_more])[in_order]


def keys_of(masks: CoarseMasks | LowRes) -> Tensor:
    """A number for each mask, which rises from point to point, and from mask to mask of it."""
    return masks.prompt * MASKS_A_PROMPT + masks.number


def clusters_of(inside: Tensor, thresh: float) -> Tensor:
    """The cluster of each mask, which is named by its first: as NMS would have it stay for them.

    inside (K, U) bool, best first -> (K,) indices
    In a cluster are masks of `FEWEST_CELLS` or more whose IoU with the first is over `thresh`.
    """
    clusters = np.arange(len(inside))
    large = (inside.sum(dim=1) >= FEWEST_CELLS).numpy()
    firsts = np.zeros(0, dtype=np.int64)
    for start in range(0, len(inside), AT_A_TIME):
        part = start + np.flatnonzero(large[start : start + AT_A_TIME])
        if len(firsts):
            near = _iou(inside[part], inside[firsts]) > thresh
            known = near.any(axis=1)
            clusters[part[known]] = firsts[near[known].argmax(axis=1)]
            part = part[~known]
        near = np.triu(_iou(inside[part], inside[part]) > thresh, 1)
        is_first = np.ones(len(part), dtype=bool)
        for i in range(len(part)):
            if is_first[i]:
                followers = near[i] & is_first
                is_first[followers] = False
                clusters[part[followers]] = part[i]
        firsts = np.concatenate([firsts, part[is_first]])
    return torch.from_numpy(clusters)


def _places_in(clusters: Tensor) -> Tensor:
    """The place of each mask among those of its cluster, from 0 on. (K,) -> (K,)"""
    order = torch.argsort(clusters, stable=True)
    _, sizes = torch.unique_consecutive(clusters[order], return_counts=True)
    firsts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    places = torch.empty_like(clusters)
    places[order] = torch.arange(len(order), dtype=torch.int64, device="cpu") - firsts
    return places


def _iou(a: Tensor, b: Tensor) -> NDArray[np.float32]:
    """Of masks (N, U) with others (M, U), bool -> (N, M)."""
    common = a.float() @ b.float().T
    union = a.sum(dim=1)[:, None] + b.sum(dim=1) - common
    iou: NDArray[np.float32] = (common / union).numpy()
    return iou


def _coarse_masks(
    model: Sam, crop: EncodedView, config: GenerationConfig, groups: Sequence[Tensor]
) -> CoarseMasks:
    """Decode groups of prompts, and draw the masks that pass the score at one place a cell."""
    threshold, offset = model.config.mask_threshold, config.stability_score_offset
    parts = []
    for group in groups:
        decoded = decode(model, crop, config, group)
        keep = passing_of(config, decoded, group)
        with timed("logits"):
            logits = cast("CoarseDecoded", decoded).coarse()[keep]
        prompt, number = keep.nonzero().unbind(dim=1)
        nb_high, nb_low = (
            (logits > bound).sum(dim=1) for bound in (threshold + offset, threshold - offset)
        )
        of_masks = (decoded.scores[keep], group[prompt], number)
        parts.append(CoarseMasks(logits > threshold, nb_high, nb_low, *of_masks))
    return concat(parts)


def _drawn(
    model: Sam, crop: EncodedView, config: GenerationConfig, chosen: CoarseMasks
) -> tuple[Candidates, Tensor]:
    """Draw masks in full. -> those that are candidates, and their keys."""
    wanted = torch.zeros(len(crop.points_xy), MASKS_A_PROMPT, dtype=torch.bool, device="cpu")
    wanted[chosen.prompt, chosen.number] = True

    def wanted_of(decoded: Decoded, group: Tensor) -> Tensor:
        """Those of a group. -> (padded, M) bool"""
        keep = torch.zeros_like(decoded.scores, dtype=torch.bool)
        keep[: len(group)] = wanted[group, : keep.shape[1]]
        return keep

    def measured(groups: Sequence[Tensor]) -> tuple[Candidates, Tensor]:
        """Those of a batch."""
        drawn = draw(model, crop, config, groups, wanted_of)
        found, places = measure(drawn, crop, model.config.mask_threshold, config)
        return found, keys_of(drawn)[places]

    batches = in_batches(crop, config, wanted.any(dim=1).nonzero()[:, 0], measured)
    found, keys = zip((Candidates.empty(), keys_of(chosen)[:0]), *batches, strict=True)
    return Candidates.concat(found), torch.cat(keys)
