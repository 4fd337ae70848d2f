"""The image as one prompt leaves it, in factors, so that its tokens are never computed.

A block of the two-way transformer changes every image token: it adds a mix of few vectors, one for
each attention head and token of the prompt, and normalises. So after any number of blocks

    tokens = scale * (base + mixᵀ spans) + constant

where base (L, C) and constant (C) are the same for all prompts, and scale (L), mix (R, L) and
spans (R, C) are a prompt's own; a block adds H * T to R. What a mask prompt adds to the image
before the first block is such a mix as well: of its few channels, and what they are projected to.
A projection of the tokens, a product with
them or their variance is then that of base, computed once an image, and that of R vectors.

N counts prompts, L embedding cells, T tokens of a prompt, H heads of D channels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.decoders.transformer import Attention
from amg_cli.models.products import linear, matmuls


@dataclass(frozen=True)
class Base:
    """What all prompts share of the image tokens between two blocks.

    tokens: (L, C); constant: (C,)
    spans: for each block so far (H, D + 1, C): what a head's values, and a 1 after them, span;
        before them (1, R, C) for the R channels of mask prompts, where prompts have masks
    """

    tokens: Tensor
    constant: Tensor
    spans: tuple[Tensor, ...] = ()

    def centred(self) -> Base:
        """Without the mean over the channels, and without the constant."""
        spans = tuple(_centred(span) for span in self.spans)
        return Base(_centred(self.tokens), torch.zeros_like(self.constant), spans)

    def normed_by(self, norm: nn.LayerNorm) -> Base:
        """With the weights of a layer norm, whose scale is each prompt's own. Of a centred one."""
        spans = tuple(span * norm.weight for span in self.spans)
        return Base(self.tokens * norm.weight, norm.bias, spans)

    def updated_by(self, attention: Attention) -> Base:
        """With the span of what `attention` adds to the image.

        A head's weights sum to 1, so what is added to each token rides on the ones.
        """
        heads = attention.num_heads
        out = attention.out_proj.weight.T.view(heads, -1, len(self.constant))
        added = ((attention.out_proj.bias + self.constant) / heads).expand(heads, 1, -1)
        span = torch.cat([out, added], dim=1)
        return Base(self.tokens, torch.zeros_like(self.constant), (*self.spans, span))


@dataclass(frozen=True)
class Factors:
    """N prompts' own part of the image tokens. Before the first block only masks are one.

    scale (N, L), mix (N, R, L), spans (N, R, C)
    block_values: for each block so far (N, H, T, D + 1), the heads' values and a 1 after them, of
        which the spans of a `Base` make those of the prompts
    """

    scale: Tensor
    mix: Tensor
    spans: Tensor
    block_values: tuple[Tensor, ...]

    @staticmethod
    def of(mix: Tensor, weight: Tensor) -> Factors:
        """Of mask prompts. mix (N, R, L), their channels; weight (R, C), what those span."""
        count, rank, _ = mix.shape
        identity = torch.eye(rank, dtype=mix.dtype, device=mix.device)
        spans = weight.expand(count, -1, -1)
        return Factors(torch.ones_like(mix[:, 0]), mix, spans, (identity.expand(count, 1, -1, -1),))

    def __len__(self) -> int:
        return len(self.scale)


@dataclass(frozen=True)
class Projected:
    """A projection of the image tokens, as far as no prompt changes it.

    weight: (H, D, C)
    of_base, of_rest: (H, D, L); the rest is the constant, the positions and the bias
    of_both: their sum, the projection where a prompt has no part of the image yet
    """

    weight: Tensor
    of_base: Tensor
    of_rest: Tensor
    of_both: Tensor

    @staticmethod
    def of(layer: nn.Linear, num_heads: int, base: Base, positions: Tensor) -> Projected:
        """Project a base by head. positions: (L, C)."""
        of_base = linear(base.tokens, layer.weight)
        of_rest = linear(positions + base.constant, layer.weight, layer.bias)
        parts = (of_base, of_rest, of_base + of_rest)
        weight = layer.weight.view(num_heads, -1, layer.in_features)
        return Projected(weight, *(_by_head(part, num_heads).mT.contiguous() for part in parts))

    def products(self, heads: Tensor, factors: Factors | None) -> Tensor:
        """Products of `heads`, (N, H, T, D), with every image token's. -> (N, H, T, L)."""
        if factors is None:
            products = products_by_head(heads, self.of_both)
        else:
            absorbed = products_by_head(heads, self.weight)
            products = matmuls(absorbed @ factors.spans.mT, factors.mix)
            products = plus_products_by_head(products, heads, self.of_base)
            products.mul_(factors.scale[:, None])
            products = plus_products_by_head(products, heads, self.of_rest)
        return products.view(*heads.shape[:3], -1)


@dataclass(frozen=True)
class Values:
    """The image tokens' values for an attention, as far as no prompt changes them.

    weight: (H, D, C); of_base: (H, L, D); constant: (H * D,)
    """

    weight: Tensor
    of_base: Tensor
    constant: Tensor

    @staticmethod
    def of(layer: nn.Linear, num_heads: int, base: Base) -> Values:
        """Project a base by head."""
        return Values(
            layer.weight.view(num_heads, -1, layer.in_features),
            _by_head(linear(base.tokens, layer.weight), num_heads),
            linear(base.constant, layer.weight, layer.bias),
        )

    def weighed(self, weights: Tensor, factors: Factors) -> Tensor:
        """Sums of the values by (N, H, T, L) weights that sum to 1. -> (N, T, H * D).

        It writes over the weights.
        """
        by_head = weights.shape[:3]
        weights = weights.mul_(factors.scale[:, None, None])
        mixed = matmuls(weights.flatten(1, 2), factors.mix.mT) @ factors.spans
        mixed = products_by_head(mixed.view(*by_head, -1), self.weight.mT)
        weighed = products_by_head(weights, self.of_base) + mixed
        return weighed.view(*by_head, -1).transpose(1, 2).flatten(2) + self.constant


@dataclass(frozen=True)
class Normed:
    """An image with its attention to a prompt added, normed, as far as no prompt changes it.

    norm: whose scale is computed for each prompt
    squares: (L,), of the centred base
    products: for each block (H, D + 1, L), of its spans with the base, twice
    spans: for each block (H, D + 1, C), centred
    """

    norm: nn.LayerNorm
    squares: Tensor
    products: tuple[Tensor, ...]
    spans: tuple[Tensor, ...]

    @staticmethod
    def of(norm: nn.LayerNorm, centred: Base) -> Normed:
        """Of a base to which the block's attention has been added, centred."""
        return Normed(
            norm,
            centred.tokens.square().sum(dim=1),
            tuple(2 * span @ centred.tokens.T for span in centred.spans),
            centred.spans,
        )

    def updated(self, weights: Tensor, values: Tensor, factors: Factors | None) -> Factors:
        """What is left of the image when it has attended to a prompt.

        weights (N, H, T, L), which sum to 1 over T and are written over; values (N, H, T, D).
        """
        mix, block_values = weights.flatten(1, 2), F.pad(values, (0, 1), value=1.0)
        all_values: tuple[Tensor, ...] = (block_values,)
        scale = torch.ones_like(mix[:, 0])
        if factors is not None:
            scale, all_values = factors.scale, (*factors.block_values, block_values)
            mix = torch.cat([factors.mix, mix.div_(scale[:, None])], dim=1)
        parts = zip(all_values, self.spans, strict=True)
        spans = torch.cat([products_by_head(heads, span) for heads, span in parts], dim=1)
        variance = scale.square() * self._squares(mix, spans, all_values) / spans.shape[2]
        scale = scale * (variance.clamp(min=0) + self.norm.eps).rsqrt()
        return Factors(scale, mix, spans * self.norm.weight, all_values)

    def _squares(self, mix: Tensor, spans: Tensor, block_values: tuple[Tensor, ...]) -> Tensor:
        """|base + mixᵀ spans|² of every image token, block by block. -> (N, L)."""
        squares = self.squares
        among = spans @ spans.mT  # the spans' products with each other: (N, R, R)
        first = 0
        for heads, of_base in zip(block_values, self.products, strict=True):
            last = first + heads.shape[1] * heads.shape[2]
            # Each pair of blocks counts twice, and is taken when the later one's turn has come.
            pairs = among[:, first:last, :last].clone()
            pairs[:, :, :first] *= 2
            part = plus_products_by_head(matmuls(pairs, mix[:, :last]), heads, of_base)
            squares = squares + part.mul_(mix[:, first:last]).sum(dim=1)
            first = last
        return squares


def products_by_head(heads: Tensor, of_image: Tensor) -> Tensor:
    """(N, H, T, D) with what all prompts share, (H, D, L) -> (N, H * T, L)."""
    count, num_heads, nb_tokens, _ = heads.shape
    in_a_row = heads.transpose(0, 1).flatten(1, 2)
    products = torch.bmm(in_a_row, of_image).view(num_heads, count, nb_tokens, -1)
    return products.transpose(0, 1).flatten(1, 2)


def plus_products_by_head(sum_: Tensor, heads: Tensor, of_image: Tensor) -> Tensor:
    """(N, H * T, L) and `products_by_head` of the rest, in one pass for one prompt.

    It writes over the first.
    """
    if heads.shape[0] > 1:
        return sum_.add_(products_by_head(heads, of_image))
    return sum_.view(*heads.shape[1:3], -1).baddbmm_(heads[0], of_image).view_as(sum_)


def _by_head(x: Tensor, num_heads: int) -> Tensor:
    """(L, H * D) -> (H, L, D)."""
    return x.view(x.shape[0], num_heads, -1).transpose(0, 1).contiguous()


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)
