"""SAM 2's decoder of images: the two-way decoder, whose masks are drawn on finer levels too.

Source: Ravi et al. 2024, "SAM 2". Parameter names are those of the official checkpoints. They have
more, for videos: whether the object is in the picture at all. Its token takes part here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amg_cli.models.configs import FineTwoWayConfig
from amg_cli.models.decoders.drawn import Drawn
from amg_cli.models.decoders.two_way import Canvas, TwoWayDecoded, TwoWayDecoder
from amg_cli.models.fast.upscaling import UNDRAWN
from amg_cli.models.kinds import Decoded, Embedding
from amg_cli.models.layers import Tokens


class FineTwoWayDecoder(TwoWayDecoder):
    """As `TwoWayDecoder`, with a token more, and scores that are probabilities.

    An embedding's finer levels are (1, C / 4, 2 H'', 2 W'') and (1, C / 8, 4 H'', 4 W'').
    """

    config: FineTwoWayConfig

    def __init__(self, config: FineTwoWayConfig, embed_dim: int) -> None:
        super().__init__(config, embed_dim)
        self.obj_score_token = Tokens(1, embed_dim)

    def _finer(self, embedding: Embedding) -> tuple[Tensor, ...]:
        return embedding.levels[1:]

    def _own(self, multimask: bool) -> Tensor:
        return torch.cat([self.obj_score_token.weight, super()._own(multimask)])

    def _present(self, multimask: bool) -> slice:
        """All mask tokens, as a clear prompt may be answered by any mask."""
        return slice(None)

    def _scored(
        self, tokens: Tensor, canvas: Canvas, multimask: bool, over: float | None
    ) -> Decoded:
        every = TwoWayDecoded(
            scores=self.iou_prediction_head(tokens[:, 1]).sigmoid(),
            mask_tokens=tokens[:, 2:],
            hypernetworks=list(self.output_hypernetworks_mlps),
            canvas=canvas,
        )
        if multimask:
            return every[1:]
        # In training each mask learns from its own prompts.
        return every[:1] if self.training else self._stable(every, over)

    def _stable(self, every: TwoWayDecoded, over: float | None) -> Drawn:
        """The first mask of each prompt, or where it is not stable the best of the others.

        Which it is only the drawn masks tell, so that scores are not there before. But where
        neither can score more than is asked for, nothing is drawn, and the first is said to be it.
        """
        if over is None:
            return self._chosen(every.scores, every.logits())
        scores = every.scores
        likely = (scores > over).any(dim=1)
        chosen = self._chosen(scores[likely], every.logits(likely[:, None].expand_as(scores)))
        side_hw = chosen.low_res.shape[2:]
        drawn = chosen.low_res.new_full((len(scores), 1, *side_hw), UNDRAWN)
        drawn[likely] = chosen.low_res
        first = scores[:, :1].clone()
        first[likely] = chosen.scores
        return Drawn(first, drawn)

    def _chosen(self, scores: Tensor, logits: Tensor) -> Drawn:
        """That of each of N prompts' masks. scores (N, M), logits (N * M, h, w)."""
        logits = logits.view(*scores.shape, *logits.shape[1:])
        delta = self.config.stability_delta
        high, low = (
            (logits[:, 0] > bound).flatten(1).sum(dim=1, dtype=torch.int64).float()
            for bound in (delta, -delta)
        )
        stability = torch.where(low > 0, high / low, 1.0)  # an empty mask counts as stable
        best = scores[:, 1:].argmax(dim=1) + 1
        chosen = torch.where(stability >= self.config.stability_thresh, 0, best)[:, None]
        place = chosen[..., None, None].expand(-1, -1, *logits.shape[2:])
        return Drawn(scores.gather(1, chosen), logits.gather(1, place))
