"""The image as factors, for the two-way transformer: the same numbers by less work.

`amg_cli.models.decoders` defines what is computed. Here, with the same weights, what no prompt
touches is computed once an image, and a prompt's image tokens are kept in factors, as `factors`
says. So a prompt costs products with some hundred vectors, not with every image token.

For inference: it writes over its own intermediate results.
N counts prompts, L embedding cells, T tokens of a prompt, H heads of D channels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from amg_cli.models.decoders.transformer import Attention, TwoWayBlock, TwoWayTransformer
from amg_cli.models.devices import is_cpu
from amg_cli.models.fast.factors import Base, Factors, Normed, Projected, Values
from amg_cli.models.kinds import CellPrompts

CELLS_AT_A_TIME = 4096  # one prompt's, for the published models: what stays in a CPU's cache


@dataclass(frozen=True)
class SharedBlock:
    """One block's part of the image, for all prompts.

    keys, values: of the image, for the tokens that attend to it
    queries: of the image, which attends to the tokens; updated: the image after that; None where
        the block ends before
    """

    keys: Projected
    values: Values
    queries: Projected | None = None
    updated: Normed | None = None


@dataclass(frozen=True)
class SharedImage:
    """What all prompts on one image have in common.

    blocks: one for each block, and one for the last attention of the tokens
    keys, values: (H, L, D), of the first block, where no prompt has changed the image yet
    base: the image after all blocks
    """

    blocks: tuple[SharedBlock, ...]
    keys: Tensor
    values: Tensor
    base: Base


def share(
    transformer: TwoWayTransformer, image: Tensor, positions: Tensor, of_masks: Tensor | None
) -> SharedImage:
    """Project an image for all its prompts. image, positions: (L, C).

    of_masks: (R, C), what the channels of mask prompts span; None for prompts without masks
    """
    spans = () if of_masks is None else (of_masks[None],)
    base = Base(image, torch.zeros_like(image[0]), spans)
    blocks = []
    for layer in transformer.blocks:
        keys, values = _keys_and_values(layer.cross_attn_token_to_image, base, positions)
        if not layer.updates_image:
            blocks.append(SharedBlock(keys, values))
            continue
        attention = layer.cross_attn_image_to_token
        sum_ = base.updated_by(attention).centred()
        queries = Projected.of(attention.q_proj, attention.num_heads, base, positions)
        blocks.append(SharedBlock(keys, values, queries, Normed.of(layer.norm4, sum_)))
        base = sum_.normed_by(layer.norm4)
    last = transformer.final_attn_token_to_image
    blocks.append(SharedBlock(*_keys_and_values(last, base, positions)))
    first = blocks[0]
    return SharedImage(
        blocks=tuple(blocks),
        keys=first.keys.of_both.mT.contiguous(),
        values=first.values.of_base + first.values.constant.view(last.num_heads, 1, -1),
        base=base,
    )


def is_less_work(transformer: TwoWayTransformer, nb_tokens: int) -> bool:
    """Whether products with a prompt's mix are less work than with the image's tokens.

    A block adds a row to the mix for each head and token, where the image has a column a channel.
    Where no block updates the image, there is no mix.
    """
    attention = transformer.final_attn_token_to_image
    fewer = nb_tokens * attention.num_heads < attention.q_proj.in_features
    return fewer and any(block.updates_image for block in transformer.blocks)


@dataclass(frozen=True)
class FactorImage:
    """The image of N prompts, in factors: an `Image` of the transformer.

    shared: what all prompts have in common
    parts: the prompts' own, a few prompts each on a CPU, all in one elsewhere; None while there is
        none, which is before the first block has updated the image of prompts without masks
    sizes: how many prompts each part is of
    """

    shared: SharedImage
    parts: tuple[Factors | None, ...]
    sizes: list[int]

    @staticmethod
    def of(shared: SharedImage, tokens: Tensor, cells: CellPrompts | None) -> FactorImage:
        """Before the first block, for the prompts of tokens (N, T, C); cells as of `transform`."""
        sizes = _part_sizes(tokens, shared.base.tokens.shape[0])
        if cells is None:
            return FactorImage(shared, (None,) * len(sizes), sizes)
        mixes = split(cells.channels.flatten(2), sizes)
        return FactorImage(shared, tuple(Factors.of(mix, cells.weight) for mix in mixes), sizes)

    def attended_by(self, query: Tensor, block: int, attention: Attention) -> Tensor:
        """As `Image`: each prompt's tokens attend to its own image."""
        if None in self.parts:
            return self._shared_attended_by(query, attention)
        shared = self.shared.blocks[block]
        heads = _heads(attention, attention.q_proj(query), scaled=True)
        mixed = [
            shared.values.weighed(shared.keys.products(part, image).softmax(dim=3), image)
            for part, image in zip(split(heads, self.sizes), self.factors, strict=True)
        ]
        return attention.out_proj(torch.cat(mixed))

    def updated(self, keys: Tensor, tokens: Tensor, layer: TwoWayBlock) -> FactorImage:
        """As `Image`."""
        shared, attention = self.shared.blocks[layer.index], layer.cross_attn_image_to_token
        queries, normed = cast("Projected", shared.queries), cast("Normed", shared.updated)
        heads = _heads(attention, attention.k_proj(keys), scaled=True)
        values = _heads(attention, attention.v_proj(tokens))
        of_parts = (split(x, self.sizes) for x in (heads, values))
        parts = tuple(
            normed.updated(queries.products(k, image).softmax(dim=2), v, image)
            for k, v, image in zip(*of_parts, self.parts, strict=True)
        )
        return FactorImage(self.shared, parts, self.sizes)

    @property
    def factors(self) -> tuple[Factors, ...]:
        """The parts, where there are any."""
        return cast("tuple[Factors, ...]", self.parts)

    def _shared_attended_by(self, query: Tensor, attention: Attention) -> Tensor:
        """Tokens (N, T, C) attend to the image, those of all prompts as one sequence."""
        heads = attention.q_proj(query).flatten(0, 1)
        heads = heads.unflatten(1, (attention.num_heads, -1))
        mixed = F.scaled_dot_product_attention(
            heads.transpose(0, 1)[None], self.shared.keys[None], self.shared.values[None]
        )
        return attention.out_proj(mixed[0].transpose(0, 1).flatten(1).view(*query.shape[:2], -1))


def transform(
    transformer: TwoWayTransformer,
    tokens: Tensor,
    cells: CellPrompts | None,
    shared: SharedImage,
    nb_wanted: int,
) -> tuple[Tensor, FactorImage]:
    """What the transformer makes of tokens (N, T, C), by factors; as its `forward`.

    cells: of mask prompts, or None; shared: of prompts with masks, or without, likewise
    """
    return transformer(tokens, FactorImage.of(shared, tokens, cells), nb_wanted)


def _part_sizes(tokens: Tensor, nb_cells: int) -> list[int]:
    """How many of N prompts are worked on at a time: on a CPU few, as its cache holds no more.

    Elsewhere, and in an exported graph, where N is not known yet, all.
    """
    count = tokens.shape[0]  # which, unlike len(), need not be known
    if not is_cpu(tokens.device) or torch.compiler.is_compiling():
        return [count]
    size = max(1, CELLS_AT_A_TIME // nb_cells)
    return [min(size, count - first) for first in range(0, count, size)]


def split(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """As `torch.split`; but one part may be of a size that is not known yet, in an exported graph.

    x: (N, …), sizes: which add up to N
    """
    return (x,) if len(sizes) == 1 else torch.split(x, sizes)


def _keys_and_values(
    attention: Attention, base: Base, positions: Tensor
) -> tuple[Projected, Values]:
    """Of the image, for tokens that attend to it."""
    return (
        Projected.of(attention.k_proj, attention.num_heads, base, positions),
        Values.of(attention.v_proj, attention.num_heads, base),
    )


def _heads(attention: Attention, x: Tensor, scaled: bool = False) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D), scaled for products of D channels if asked."""
    heads = x.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
    return heads * heads.shape[3] ** -0.5 if scaled else heads
