"""The mask decoder: scores for every mask of a prompt at once, logits only for those asked for.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from amg_cli.core.host import without_autocast
from amg_cli.models.factors import Factors
from amg_cli.models.fast_decoder import SharedImage, pays, share, transform
from amg_cli.models.fast_upscaling import FastUpscaling, Layout
from amg_cli.models.layers import LayerNorm2d, Mlp, Tokens
from amg_cli.models.transformer import TwoWayTransformer


@dataclass(frozen=True)
class TwoWayConfig:
    """The decoder's published numbers; the defaults are those of every official model.

    all_mask_tokens: tokens of masks that are not asked for take part too
    last_block_tells: the image attends to the tokens in the last block too, as in those before
    """

    kind: str = "two_way"
    nb_multimask_outputs: int = 3
    nb_blocks: int = 2
    nb_heads: int = 8
    mlp_channels: int = 2048
    attention_downsample_rate: int = 2
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    all_mask_tokens: bool = True
    last_block_tells: bool = True


class Drawing(Protocol):
    """The images of N prompts, which their masks are drawn on."""

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """Weigh each image by the kernels, (N, M, C / 8), that keep, (N, M), names."""


@dataclass(frozen=True)
class PlainDrawing:
    """Drawing, as published. image: (N, L, C)."""

    upscaling: nn.Sequential
    image: Tensor
    cells_hw: tuple[int, int]

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """As `Drawing`. -> (K, 4h, 4w)."""
        rows = slice(None) if keep is None else keep.any(dim=1)
        image = self.image[rows].mT.reshape(-1, self.image.shape[2], *self.cells_hw)
        upscaled: Tensor = self.upscaling(image)
        drawn = (kernels[rows] @ upscaled.flatten(2)).view(
            -1, kernels.shape[1], *upscaled.shape[2:]
        )
        return drawn.flatten(0, 1) if keep is None else drawn[keep[rows]]


@dataclass(frozen=True)
class Shared:
    """What all prompts on one image have in common: for the transformer, and for drawing."""

    image: SharedImage
    upscaling: FastUpscaling


@dataclass(frozen=True)
class FastDrawing:
    """Drawing by less work. images: of a few prompts each, or one of all N."""

    upscaling: FastUpscaling
    images: list[Factors]
    draw_all: Callable[[FastUpscaling, Factors, Tensor], Tensor]

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """As `Drawing`. -> (K, 4h, 4w)."""
        sizes = [len(image) for image in self.images]
        parts = list(zip(self.images, torch.split(kernels, sizes), strict=True))
        if keep is None:
            drawn = [self._masks(image, of_part).flatten(0, 1) for image, of_part in parts]
            return torch.cat(drawn)
        height, width = self.upscaling.layout.cells_hw
        drawn = [kernels.new_empty(0, 4 * height, 4 * width)]
        for (image, of_part), kept in zip(parts, torch.split(keep, sizes), strict=True):
            if kept.any():
                # All masks of a part, so that none depends on which others are kept.
                drawn.append(self._masks(image, of_part)[kept])
        return torch.cat(drawn)

    def _masks(self, image: Factors, kernels: Tensor) -> Tensor:
        return self.draw_all(self.upscaling, image, kernels)


class TwoWayDecoder(nn.Module):
    """Prompt tokens and an image embedding to mask scores, and on demand to mask logits."""

    def __init__(self, config: TwoWayConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        nb_masks = config.nb_multimask_outputs + 1  # the first is for unambiguous prompts
        self.transformer = TwoWayTransformer(
            config.nb_blocks,
            embed_dim,
            config.nb_heads,
            config.mlp_channels,
            config.attention_downsample_rate,
            config.last_block_tells,
        )
        self.iou_token = Tokens(1, embed_dim)
        self.mask_tokens = Tokens(nb_masks, embed_dim)
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
        # What `compile_model` replaces.
        self.transform, self.draw_all = transform, FastUpscaling.draw

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
        multimask: the M = 3 masks for ambiguous prompts, or the M = 1 for clear ones.
        """
        image = (features + per_cell).flatten(2).transpose(1, 2)
        tokens = self._with_own(tokens, multimask)
        tokens, image = self.transformer(tokens, image, features_pe.flatten(2).transpose(1, 2))
        image = image.expand(len(tokens), -1, -1)
        cells_hw = (features.shape[2], features.shape[3])
        return self._scored(tokens, PlainDrawing(self.output_upscaling, image, cells_hw), multimask)

    def share(
        self, features: Tensor, features_pe: Tensor, per_cell: Tensor, layout: Layout
    ) -> Shared:
        """What all prompts without a mask have in common on one image, for `forward_shared`."""
        image, positions = (features + per_cell)[0].flatten(1).T, features_pe[0].flatten(1).T
        shared = share(self.transformer, image.contiguous(), positions.contiguous())
        return Shared(shared, FastUpscaling.of(self.output_upscaling, shared.base, layout))

    def forward_shared(self, shared: Shared, tokens: Tensor, multimask: bool) -> Decoded:
        """What `forward` computes, by less work. For inference, where `pays` says so."""
        tokens, images = self.transform(
            self.transformer,
            self._with_own(tokens, multimask),
            shared.image,
            self._nb_own(multimask),
        )
        return self._scored(tokens, FastDrawing(shared.upscaling, images, self.draw_all), multimask)

    def pays(self, tokens: Tensor, multimask: bool) -> bool:
        """Whether `forward_shared` is less work than `forward` for such prompts."""
        return pays(self.transformer, self._nb_own(multimask) + tokens.shape[1])

    def _present(self, multimask: bool) -> slice:
        """Which of the mask tokens take part."""
        return slice(None) if self.config.all_mask_tokens else _asked(multimask)

    def _nb_own(self, multimask: bool) -> int:
        """The decoder's own tokens: one for the scores, and one a mask."""
        return 1 + len(range(len(self.mask_tokens.weight))[self._present(multimask)])

    def _with_own(self, tokens: Tensor, multimask: bool) -> Tensor:
        of_masks = self.mask_tokens.weight[self._present(multimask)]
        own = torch.cat([self.iou_token.weight, of_masks])
        return torch.cat([own.expand(len(tokens), -1, -1), tokens], dim=1)

    def _scored(self, tokens: Tensor, drawing: Drawing, multimask: bool) -> Decoded:
        asked = _asked(multimask)
        of_masks = tokens[:, 1 : self._nb_own(multimask)]
        return Decoded(
            scores=self.iou_prediction_head(tokens[:, 0])[:, asked],
            mask_tokens=of_masks[:, asked] if self.config.all_mask_tokens else of_masks,
            hypernetworks=list(self.output_hypernetworks_mlps)[asked],
            drawing=drawing,
        )


def _asked(multimask: bool) -> slice:
    """Which of the masks are asked for: those of an ambiguous prompt, or that of a clear one."""
    return slice(1, None) if multimask else slice(0, 1)


@dataclass(frozen=True)
class Decoded:
    """The masks of N prompts, M each, scored but not drawn.

    scores: (N, M), the model's estimate of each mask's IoU with the object
    The rest is what drawing needs: mask_tokens (N, M, C), M hypernetworks, and the images.
    """

    scores: Tensor
    mask_tokens: Tensor
    hypernetworks: list[nn.Module]
    drawing: Drawing

    @without_autocast
    def logits(self, keep: Tensor | None = None) -> Tensor:
        """Draw the masks that `keep`, (N, M) bool, names; all without it. -> (K, 4h, 4w).

        K masks in row-major order of `keep`. On a CPU prompts without one cost nothing, but for
        those of one part with others; on a GPU the program waits to learn which they are, where
        without `keep` it goes on.
        """
        kernels = torch.stack(
            [mlp(self.mask_tokens[:, i]) for i, mlp in enumerate(self.hypernetworks)], dim=1
        )
        return self.drawing.draw(kernels, keep)
