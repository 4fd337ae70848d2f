"""The two-way decoder: scores for every mask of a prompt at once, logits only for those asked for.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
Shape letters are those of `amg_cli.models.kinds`; L counts embedding cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from amg_cli.core.host import in_own_precision
from amg_cli.models.configs import TwoWayConfig
from amg_cli.models.decoders.transformer import PlainImage, TwoWayTransformer
from amg_cli.models.fast.factors import Base, Factors
from amg_cli.models.fast.image import SharedImage, is_less_work, share, split, transform
from amg_cli.models.fast.upscaling import Drawing, FastUpscaling, Layout
from amg_cli.models.kinds import CellPrompts, Decoded, Embedding
from amg_cli.models.layers import LayerNorm2d, Mlp, Tokens
from amg_cli.models.modes import Modes


class Canvas(Protocol):
    """The images of N prompts, on which their masks are drawn."""

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """Weigh each image's pixels by the kernels, (N, M, C'), that keep, (N, M), names."""


@dataclass(frozen=True)
class PlainCanvas:
    """The images as published. image: (N, L, C); pixels: of (N, C, h, w) makes (N, C', 4h, 4w)."""

    image: Tensor
    cells_hw: tuple[int, int]
    pixels: Callable[[Tensor], Tensor]

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """As `Canvas`. -> (K, H', W')."""
        rows = slice(None) if keep is None else keep.any(dim=1)
        image = self.image[rows].mT.reshape(-1, self.image.shape[2], *self.cells_hw)
        pixels = self.pixels(image)
        drawn = (kernels[rows] @ pixels.flatten(2)).view(-1, kernels.shape[1], *pixels.shape[2:])
        return drawn.flatten(0, 1) if keep is None else drawn[keep[rows]]


def upscaled(upscaling: nn.Sequential, image: Tensor, finer: Sequence[Tensor]) -> Tensor:
    """Images (N, C, h, w), upscaled twice -> (N, C / 8, 4h, 4w).

    finer: levels of the image that are added, one after each upscaling, before what follows on it:
        (1, C / 4, 2h, 2w), (1, C / 8, 4h, 4w); or none
    """
    if not finer:
        pixels: Tensor = upscaling(image)
        return pixels
    half, quarter = finer
    first, norm, gelu, second, last_gelu = cast("list[nn.Module]", list(upscaling))
    image = gelu(norm(first(image) + half))
    return cast("Tensor", last_gelu(second(image) + quarter))


@dataclass(frozen=True)
class Prepared:
    """What prompts on one image have in common: for the transformer, and for drawing."""

    image: SharedImage
    upscaling: Drawing


@dataclass
class Shared:
    """What all prompts on one image have in common.

    layout: what of it is drawn
    without_masks, with_masks: of prompts that have no mask, or have one; the latter is made when
        such a prompt comes, as few do
    """

    layout: Layout
    modes: Modes
    without_masks: Prepared
    with_masks: Prepared | None = None


@dataclass(frozen=True)
class FastCanvas:
    """The images in factors, by less work. images: of a few prompts each, or one of all N."""

    upscaling: Drawing
    images: Sequence[Factors]
    modes: Modes

    def draw(self, kernels: Tensor, keep: Tensor | None) -> Tensor:
        """As `Canvas`. -> (K, H', W')."""
        sizes = [image.scale.shape[0] for image in self.images]
        parts = list(zip(self.images, split(kernels, sizes), strict=True))
        if keep is None:
            drawn = [self._masks(image, of_part).flatten(0, 1) for image, of_part in parts]
            return torch.cat(drawn)
        height, width = self.upscaling.layout.cells_hw
        drawn = [kernels.new_empty(0, 4 * height, 4 * width)]
        for (image, of_part), kept in zip(parts, split(keep, sizes), strict=True):
            if kept.any():
                # All masks of a part, so that none depends on which others are kept.
                drawn.append(self._masks(image, of_part)[kept])
        return torch.cat(drawn)

    def coarse(self, kernels: Tensor) -> Tensor:
        """As `draw`, of all kernels, at one pixel of each cell. -> (N, M, U)"""
        upscaling = cast("FastUpscaling", self.upscaling)
        of_parts = split(kernels, [len(image) for image in self.images])
        parts = zip(self.images, of_parts, strict=True)
        return torch.cat([upscaling.coarse(image, part) for image, part in parts])

    def _masks(self, image: Factors, kernels: Tensor) -> Tensor:
        draw: Any = self.modes.compiled(type(self.upscaling).draw)
        return cast("Tensor", draw(self.upscaling, image, kernels))


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
            config.last_block_updates_image,
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

    def forward(
        self,
        embedding: Embedding,
        tokens: Tensor,
        cells: CellPrompts | None,
        multimask: bool,
        over: float | None = None,
    ) -> Decoded:
        """As `Decoder`, M being 3 for ambiguous prompts.

        A prepared embedding is decoded in factors, unless prompts have so many tokens that this
        would be more work.
        """
        own = self._own(multimask)
        tokens = torch.cat([own.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        less = (
            embedding.shared is not None
            and tokens.shape[0] > 0
            and is_less_work(self.transformer, tokens.shape[1])
        )
        decode = self._in_factors if less else self._plainly
        tokens, canvas = decode(embedding, tokens, cells, own.shape[0])
        return self._scored(tokens, canvas, multimask, over)

    def prepare(self, embedding: Embedding, used_hw: tuple[int, int], modes: Modes) -> Shared:
        """As `Decoder`. For inference."""
        layout = Layout(embedding.cells_hw, used_hw, modes.precision)
        return Shared(layout, modes, self._prepared(embedding, layout))

    def draws_coarsely(self, embedding: Embedding) -> bool:
        """As `Decoder`: where they are decoded in factors."""
        nb_tokens = len(self._own(multimask=True)) + 2  # a point, and what pads it
        return embedding.shared is not None and is_less_work(self.transformer, nb_tokens)

    def _prepared(
        self, embedding: Embedding, layout: Layout, of_masks: Tensor | None = None
    ) -> Prepared:
        """Of prompts without masks; or with some, whose channels span of_masks, (R, C)."""
        features = embedding.features + (embedding.no_mask if of_masks is None else 0)
        image, positions = (x[0].flatten(1).T.contiguous() for x in (features, embedding.positions))
        shared = share(self.transformer, image, positions, of_masks)
        return Prepared(shared, self._fast_upscaling(embedding, shared.base, layout))

    def _plainly(
        self, embedding: Embedding, tokens: Tensor, cells: CellPrompts | None, nb_own: int
    ) -> tuple[Tensor, Canvas]:
        """As published. -> the decoder's own tokens (N, nb_own, C), and what masks are drawn on."""
        per_cell = embedding.no_mask if cells is None else cells.projected()
        image, positions = (
            x.flatten(2).transpose(1, 2)
            for x in (embedding.features + per_cell, embedding.positions)
        )
        image = image[: tokens.shape[0]]  # none for no prompts, as one does not expand to none
        tokens, left = self.transformer(tokens, PlainImage(image, positions), nb_own)
        image = left.tokens.expand(tokens.shape[0], -1, -1)
        return tokens, PlainCanvas(image, embedding.cells_hw, self._upscaling(embedding))

    def _upscaling(self, embedding: Embedding) -> Callable[[Tensor], Tensor]:
        """From images to their pixels, as published: of (N, C, h, w) makes (N, C', 4h, 4w)."""
        return partial(upscaled, self.output_upscaling, finer=self._finer(embedding))

    def _fast_upscaling(self, embedding: Embedding, base: Base, layout: Layout) -> Drawing:
        """The same by less work, and the drawing."""
        return FastUpscaling.of(self.output_upscaling, base, layout, self._finer(embedding))

    def _finer(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """The finer levels that masks are drawn on too, as of `upscaled`: none."""
        return ()

    def _in_factors(
        self, embedding: Embedding, tokens: Tensor, cells: CellPrompts | None, nb_own: int
    ) -> tuple[Tensor, Canvas]:
        """The same by less work, of a prepared embedding."""
        shared: Shared = embedding.shared
        prepared = shared.without_masks
        if cells is not None:
            if shared.with_masks is None:
                shared.with_masks = self._prepared(embedding, shared.layout, cells.weight)
            prepared = shared.with_masks
        run = shared.modes.compiled(transform)
        tokens, image = run(self.transformer, tokens, cells, prepared.image, nb_own)
        return tokens, FastCanvas(prepared.upscaling, image.factors, shared.modes)

    def _present(self, multimask: bool) -> slice:
        """Which of the mask tokens take part."""
        return slice(None) if self.config.all_mask_tokens else _asked(multimask)

    def _own(self, multimask: bool) -> Tensor:
        """The decoder's own tokens: one for the scores, and one a mask. -> (T, C)."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight[self._present(multimask)]])

    def _scored(
        self, tokens: Tensor, canvas: Canvas, multimask: bool, over: float | None
    ) -> Decoded:
        """What is asked for, of the decoder's own tokens, (N, T, C). over: as of `Decoder`"""
        asked = _asked(multimask)
        of_masks = tokens[:, 1:]
        return TwoWayDecoded(
            scores=self.iou_prediction_head(tokens[:, 0])[:, asked],
            mask_tokens=of_masks[:, asked] if self.config.all_mask_tokens else of_masks,
            hypernetworks=list(self.output_hypernetworks_mlps)[asked],
            canvas=canvas,
        )


def kernels_of(hypernetworks: Iterable[nn.Module], mask_tokens: Tensor) -> Tensor:
    """What masks weigh pixels by: each token by its own network. (N, M, C) -> (N, M, C / 8)."""
    return torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(hypernetworks)], dim=1)


def _asked(multimask: bool) -> slice:
    """Which of the masks are asked for: those of an ambiguous prompt, or that of a clear one."""
    return slice(1, None) if multimask else slice(0, 1)


@dataclass(frozen=True)
class TwoWayDecoded:
    """As `Decoded`; and what drawing needs: mask_tokens (N, M, C), M hypernetworks, the images."""

    scores: Tensor
    mask_tokens: Tensor
    hypernetworks: list[nn.Module]
    canvas: Canvas

    def __getitem__(self, masks: slice) -> TwoWayDecoded:
        """Some of each prompt's masks."""
        of_masks = (self.scores[:, masks], self.mask_tokens[:, masks], self.hypernetworks[masks])
        return TwoWayDecoded(*of_masks, self.canvas)

    @in_own_precision
    def logits(self, keep: Tensor | None = None) -> Tensor:
        """As `Decoded`."""
        return self.canvas.draw(kernels_of(self.hypernetworks, self.mask_tokens), keep)

    @in_own_precision
    def coarse(self) -> Tensor:
        """As `CoarseDecoded`, of a prepared embedding."""
        canvas = cast("FastCanvas", self.canvas)
        return canvas.coarse(kernels_of(self.hypernetworks, self.mask_tokens))
