"""A second look at every mask of a point: by itself, as a mask prompt, and by its point.

Source: `use_m2m` of the generator of SAM 2's published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from amg_cli.core.timings import timed
from amg_cli.models.kinds import Decoded, Embedding
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam


@dataclass(frozen=True)
class Refined:
    """As `Decoded`, of masks of which each was a prompt of its own.

    scores: (N, M); parts: a few prompts each, of one mask, N * M in all, row by row
    """

    scores: Tensor
    parts: Sequence[Decoded]

    def logits(self, keep: Tensor | None = None) -> Tensor:
        """As `Decoded`."""
        if keep is None:
            return torch.cat([part.logits() for part in self.parts])
        sizes = [len(part.scores) for part in self.parts]
        of_parts = torch.split(keep.reshape(-1, 1), sizes)
        drawn = [part.logits(kept) for part, kept in zip(self.parts, of_parts, strict=True)]
        return torch.cat(drawn)


def refined(
    model: Sam,
    embedding: Embedding,
    prompts: Prompts,
    decoded: Decoded,
    over: float | None = None,
) -> Refined:
    """Prompt once more by each of the M masks of N points, together with the mask's own point.

    Each gives one mask, with a score of its own: those of `decoded` decide nothing. So all of its
    masks are drawn; N at a time prompt.

    embedding: what the masks are decoded on
    prompts: N points, by which `decoded` was found, in logits of the whole input
    over: as of `Decoder`
    """
    with timed("logits"):
        masks = model.as_prompts(decoded.logits())[:, None]
    count, nb_masks = decoded.scores.shape
    points_xy, labels = (
        torch.split(part.repeat_interleave(nb_masks, dim=0), count)
        for part in (prompts.points_xy, prompts.labels)
        if part is not None
    )
    parts = []
    for again in zip(points_xy, labels, torch.split(masks, count), strict=True):
        with timed("prompts"):
            asked = Prompts(*again[:2], masks=again[2])
            parts.append(model.decode(embedding, asked, multimask=False, over=over))
    scores = torch.cat([part.scores for part in parts])
    return Refined(scores.view(count, nb_masks), parts)
