"""The mask decoder: scores for every mask of a prompt at once, logits only for those asked for.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amg_cli.models.fast_decoder import SharedImage, pays, share, transform, upscale
from amg_cli.models.layers import LayerNorm2d, Mlp
from amg_cli.models.transformer import TwoWayTransformer


@dataclass(frozen=True)
class TwoWayConfig:
    """The decoder's published numbers; the defaults are those of every official model."""

    kind: str = "two_way"
    nb_multimask_outputs: int = 3
    nb_blocks: int = 2
    nb_heads: int = 8
    mlp_channels: int = 2048
    attention_downsample_rate: int = 2
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256


class TwoWayDecoder(nn.Module):
    """Prompt tokens and an image embedding to mask scores, and on demand to mask logits."""

    def __init__(self, config: TwoWayConfig, embed_dim: int) -> None:
        super().__init__()
        nb_masks = config.nb_multimask_outputs + 1  # the first is for unambiguous prompts
        self.transformer = TwoWayTransformer(
            config.nb_blocks,
            embed_dim,
            config.nb_heads,
            config.mlp_channels,
            config.attention_downsample_rate,
        )
        self.iou_token = nn.Embedding(1, embed_dim)
        self.mask_tokens = nn.Embedding(nb_masks, embed_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(embed_dim, embed_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(embed_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(embed_dim // 4, embed_dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(embed_dim, embed_dim, embed_dim // 8, depth=3) for _ in range(nb_masks)
        )
        self.iou_prediction_head = Mlp(
            embed_dim, config.iou_head_hidden_dim, nb_masks, config.iou_head_depth
        )

    def forward(
        self,
        features: Tensor,
        features_pe: Tensor,
        tokens: Tensor,
        per_cell: Tensor,
        multimask: bool,
    ) -> Decoded:
        """Score the masks of N prompts on one image.

        features (1, C, h, w), features_pe (1, C, h, w), tokens (N, T, C),
        per_cell (N, C, h, w) or (1, C, 1, 1).
        multimask: the M = 3 masks for ambiguous prompts; otherwise the M = 1 for clear ones.
        """
        image = (features + per_cell).expand(len(tokens), -1, -1, -1).flatten(2).transpose(1, 2)
        tokens = self._with_own(tokens)
        tokens, image = self.transformer(tokens, image, features_pe.flatten(2).transpose(1, 2))
        return self._scored(tokens, image, (features.shape[2], features.shape[3]), multimask)

    def share(self, features: Tensor, features_pe: Tensor, per_cell: Tensor) -> SharedImage:
        """What all prompts without a mask have in common on one image, for `forward_shared`."""
        image, positions = (features + per_cell)[0].flatten(1).T, features_pe[0].flatten(1).T
        return share(self.transformer, image.contiguous(), positions.contiguous())

    def forward_shared(
        self, shared: SharedImage, tokens: Tensor, cells_hw: tuple[int, int], multimask: bool
    ) -> Decoded:
        """What `forward` computes, by less work. For inference, where `pays` says so."""
        tokens, image = transform(self.transformer, self._with_own(tokens), shared)
        return self._scored(tokens, image, cells_hw, multimask, fast=True)

    def pays(self, tokens: Tensor) -> bool:
        """Whether `forward_shared` is less work than `forward` for such prompts."""
        return pays(self.transformer, self._nb_own + tokens.shape[1])

    @property
    def _nb_own(self) -> int:
        """The decoder's own tokens: one for the scores, and one a mask."""
        return 1 + self.mask_tokens.num_embeddings

    def _with_own(self, tokens: Tensor) -> Tensor:
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([own.expand(len(tokens), -1, -1), tokens], dim=1)

    def _scored(
        self,
        tokens: Tensor,
        image: Tensor,
        cells_hw: tuple[int, int],
        multimask: bool,
        fast: bool = False,
    ) -> Decoded:
        chosen = slice(1, self._nb_own - 1) if multimask else slice(0, 1)
        return Decoded(
            scores=self.iou_prediction_head(tokens[:, 0])[:, chosen],
            decoder=self,
            mask_tokens=tokens[:, 1 : self._nb_own][:, chosen],
            image=image,
            cells_hw=cells_hw,
            hypernetworks=list(self.output_hypernetworks_mlps)[chosen],
            fast=fast,
        )


@dataclass(frozen=True)
class Decoded:
    """The masks of N prompts, M each, scored but not drawn.

    scores: (N, M), the model's estimate of each mask's IoU with the object
    The rest is what drawing needs: mask_tokens (N, M, C), image (N, L, C), M hypernetworks.
    """

    scores: Tensor
    decoder: TwoWayDecoder
    mask_tokens: Tensor
    image: Tensor
    cells_hw: tuple[int, int]
    hypernetworks: list[nn.Module]
    fast: bool = False

    def logits(self, keep: Tensor | None = None) -> Tensor:
        """Draw the masks that `keep`, (N, M) bool, names; all without it. -> (K, 4h, 4w).

        K masks in row-major order of `keep`. A prompt without one costs nothing.
        """
        if keep is None:
            keep = torch.ones_like(self.scores, dtype=torch.bool)
        rows = keep.any(dim=1)
        tokens, image = self.mask_tokens[rows], self.image[rows]
        kernels = torch.stack(
            [mlp(tokens[:, i]) for i, mlp in enumerate(self.hypernetworks)], dim=1
        )
        upscaling = self.decoder.output_upscaling
        if self.fast:
            drawn = upscale(upscaling, image, kernels, self.cells_hw)
        else:
            upscaled: Tensor = upscaling(image.mT.reshape(*image.shape[::2], *self.cells_hw))
            drawn = (kernels @ upscaled.flatten(2)).view(*kernels.shape[:2], *upscaled.shape[2:])
        return drawn[keep[rows]]
