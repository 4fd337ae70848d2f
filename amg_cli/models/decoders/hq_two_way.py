"""SAM-HQ's decoder: the two-way decoder, with a token whose masks are drawn on finer features.

Source: Ke et al. 2023, "Segment Anything in High Quality". Parameter names are those of the
official checkpoints. Shape letters are those of `amg_cli.models.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from amg_cli.core.host import in_own_precision
from amg_cli.models.configs import HqTwoWayConfig
from amg_cli.models.decoders.two_way import Canvas, TwoWayDecoder, kernels_of
from amg_cli.models.fast.factors import Base
from amg_cli.models.fast.hq_upscaling import HqUpscaling, grown
from amg_cli.models.fast.upscaling import Drawing, FastUpscaling, Layout
from amg_cli.models.kinds import Decoded, Embedding
from amg_cli.models.layers import LayerNorm2d, Mlp, Tokens


class HqTwoWayDecoder(TwoWayDecoder):
    """As `TwoWayDecoder`, with a token more, and M = 1: SAM's mask and a correction of it.

    SAM's is that of a clear prompt, or the best of those of an ambiguous one, whose score is the
    mask's. The published generator can be told to take points for clear prompts; to ours they are
    ambiguous, as they are to that one if it is not told.

    An embedding's second level is (1, early channels, H'', W''). A pixel is 2 * C / 8 channels:
    SAM's, and those of the finer features.
    """

    config: HqTwoWayConfig

    def __init__(self, config: HqTwoWayConfig, embed_dim: int) -> None:
        super().__init__(config, embed_dim)
        pixel = embed_dim // 8
        self.hf_token = Tokens(1, embed_dim)
        self.hf_mlp = Mlp(embed_dim, embed_dim, pixel, depth=3)
        self.compress_vit_feat = _enlarging(config.early_channels, embed_dim, pixel)
        self.embedding_encoder = _enlarging(embed_dim, embed_dim // 4, pixel)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(pixel, embed_dim // 4, kernel_size=3, padding=1),
            LayerNorm2d(embed_dim // 4),
            nn.GELU(),
            nn.Conv2d(embed_dim // 4, pixel, kernel_size=3, padding=1),
        )

    def _own(self, multimask: bool) -> Tensor:
        return torch.cat([super()._own(multimask), self.hf_token.weight])

    def _present(self, multimask: bool) -> slice:
        """All mask tokens, as published."""
        return slice(None)

    def _features(self, embedding: Embedding) -> Tensor:
        """What all prompts on an image share of the finer features: (1, C / 8, 4 H'', 4 W'')."""
        _, early = embedding.levels
        features: Tensor = self.embedding_encoder(embedding.features)
        return features + self.compress_vit_feat(early)

    def _upscaling(self, embedding: Embedding) -> Callable[[Tensor], Tensor]:
        return partial(self._pixels, embedding=embedding)

    def _pixels(self, image: Tensor, embedding: Embedding) -> Tensor:
        """SAM's pixels, and the finer features of them. (N, C, h, w) -> (N, 2 * C / 8, 4h, 4w)."""
        pixels = self.output_upscaling(image)
        features = self.embedding_maskfeature(pixels) + self._features(embedding)
        return torch.cat([pixels, features], dim=1)

    def draws_coarsely(self, embedding: Embedding) -> bool:
        """As `Decoder`: convolutions see more than one pixel."""
        return False

    def _fast_upscaling(self, embedding: Embedding, base: Base, layout: Layout) -> Drawing:
        pixels = FastUpscaling.of(self.output_upscaling, base, grown(layout))
        return HqUpscaling.of(pixels, self.embedding_maskfeature, self._features(embedding))

    def _scored(
        self, tokens: Tensor, canvas: Canvas, multimask: bool, over: float | None
    ) -> Decoded:
        scores = self.iou_prediction_head(tokens[:, 0])
        chosen = torch.zeros_like(scores[:, :1], dtype=torch.int64)
        if multimask:
            chosen = scores[:, 1:].argmax(dim=1, keepdim=True) + 1
        return HqDecoded(scores.gather(1, chosen), chosen, tokens[:, 1:], self, canvas)

    def kernels(self, mask_tokens: Tensor, chosen: Tensor) -> Tensor:
        """What a mask weighs pixels by. (N, T, C), (N, 1) -> (N, 1, 2 * C / 8).

        chosen: which of SAM's masks
        """
        every = kernels_of(self.output_hypernetworks_mlps, mask_tokens)
        of_sam = every.gather(1, chosen[..., None].expand(-1, -1, every.shape[2]))
        if self.config.hq_token_only:
            of_sam = torch.zeros_like(of_sam)
        return torch.cat([of_sam, self.hf_mlp(mask_tokens[:, -1:])], dim=2)


@dataclass(frozen=True)
class HqDecoded:
    """As `Decoded`; and what drawing needs.

    chosen: (N, 1), which of SAM's masks; mask_tokens: (N, T, C), the last of which is SAM-HQ's
    """

    scores: Tensor
    chosen: Tensor
    mask_tokens: Tensor
    decoder: HqTwoWayDecoder
    canvas: Canvas

    @in_own_precision
    def logits(self, keep: Tensor | None = None) -> Tensor:
        """As `Decoded`."""
        return self.canvas.draw(self.decoder.kernels(self.mask_tokens, self.chosen), keep)


def _enlarging(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    """Upscale twice, to four times the height and width."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, hidden, kernel_size=2, stride=2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, channels_out, kernel_size=2, stride=2),
    )
