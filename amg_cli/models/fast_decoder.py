"""The two-way decoder for many prompts on one image: the same numbers by less work.

`transformer` and `mask_decoder` define what is computed. Here, with the same weights, what no
prompt touches is computed once an image, and a prompt's image tokens are kept in factors, as
`factors` tells. So a prompt costs products with some hundred vectors, not with every image token.

For inference: it writes over its own intermediate results.
N counts prompts, L embedding cells, T tokens of a prompt, H heads of D channels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from amg_cli.models.factors import Base, Factors, Normed, Projected, Values
from amg_cli.models.transformer import Attention, TwoWayBlock, TwoWayTransformer

# Devices that take so many cells at a time, which stay in the cache; others take all at once.
IN_PARTS = ("cpu",)
CELLS_AT_A_TIME = 4096  # one prompt's, for the published models


@dataclass(frozen=True)
class SharedBlock:
    """One block's part of the image, for all prompts.

    look, seen: keys and values of the image for the prompt's look at it
    tell: queries of the image to what it is told; told: the image after it; None where it is not
    """

    look: Projected
    seen: Values
    tell: Projected | None = None
    told: Normed | None = None


@dataclass(frozen=True)
class SharedImage:
    """What all prompts on one image have in common.

    blocks: one for each block; keys, values: (H, L, D), for the look of the first
    last_look, last_seen: for the last look of the tokens at the image
    base: the image after all blocks
    """

    blocks: tuple[SharedBlock, ...]
    keys: Tensor
    values: Tensor
    last_look: Projected
    last_seen: Values
    base: Base


def share(transformer: TwoWayTransformer, image: Tensor, positions: Tensor) -> SharedImage:
    """Project an image for all its prompts. image, positions: (L, C)."""
    base = Base(image, torch.zeros_like(image[0]))
    blocks = []
    for layer in _blocks(transformer):
        look = layer.cross_attn_token_to_image
        keys = Projected.of(look.k_proj, look.num_heads, base, positions)
        values = Values.of(look.v_proj, look.num_heads, base)
        if not layer.tells:
            blocks.append(SharedBlock(keys, values))
            continue
        tell = layer.cross_attn_image_to_token
        sum_ = base.told_by(tell).centred()
        queries = Projected.of(tell.q_proj, tell.num_heads, base, positions)
        blocks.append(SharedBlock(keys, values, queries, Normed.of(layer.norm4, sum_)))
        base = sum_.normed_by(layer.norm4)
    first, last = blocks[0], transformer.final_attn_token_to_image
    return SharedImage(
        blocks=tuple(blocks),
        keys=first.look.of_both.mT.contiguous(),
        values=first.seen.of_base + first.seen.constant.view(last.num_heads, 1, -1),
        last_look=Projected.of(last.k_proj, last.num_heads, base, positions),
        last_seen=Values.of(last.v_proj, last.num_heads, base),
        base=base,
    )


def pays(transformer: TwoWayTransformer, nb_tokens: int) -> bool:
    """Whether products with a prompt's mix are less work than with the image's tokens.

    A block adds a row to the mix for each head and token, where the image has a column a channel.
    Where no block tells the image anything, there is no mix.
    """
    attention = transformer.final_attn_token_to_image
    fewer = nb_tokens * attention.num_heads < attention.q_proj.in_features
    return fewer and any(block.tells for block in _blocks(transformer))


def transform(
    transformer: TwoWayTransformer, tokens: Tensor, shared: SharedImage, nb_wanted: int
) -> tuple[Tensor, list[Factors]]:
    """What the transformer makes of (N, T, C) tokens.

    -> the first `nb_wanted` tokens of each prompt (N, nb_wanted, C), and the image, in parts of a
    few prompts where `IN_PARTS` says so, and in one for all of them elsewhere.
    """
    size = len(tokens)
    if tokens.device.type in IN_PARTS:
        size = max(1, CELLS_AT_A_TIME // len(shared.base.tokens))
    token_pe = tokens
    images: list[Factors | None] = [None] * len(torch.split(tokens, size))
    for layer, block in zip(_blocks(transformer), shared.blocks, strict=True):
        look = layer.cross_attn_token_to_image
        if layer.first:
            tokens = layer.norm1(layer.self_attn(tokens, tokens, tokens))
            seen = _look_at_shared(look, tokens + token_pe, shared)
        else:
            placed = tokens + token_pe
            tokens = layer.norm1(tokens + layer.self_attn(placed, placed, tokens))
            seen = _look(look, tokens + token_pe, images, block.look, block.seen)
        tokens = layer.norm2(tokens + seen)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        if block.tell is None or block.told is None:
            continue
        tell = layer.cross_attn_image_to_token
        keys = _heads(tell, tell.k_proj(tokens + token_pe), scaled=True)
        values = _heads(tell, tell.v_proj(tokens))
        parts = zip(torch.split(keys, size), torch.split(values, size), images, strict=True)
        images = [
            block.told.tell(block.tell.products(k, image).softmax(dim=2), v, image)
            for k, v, image in parts
        ]
    tokens, token_pe = tokens[:, :nb_wanted], token_pe[:, :nb_wanted]
    last = transformer.final_attn_token_to_image
    seen = _look(last, tokens + token_pe, images, shared.last_look, shared.last_seen)
    return transformer.norm_final_attn(tokens + seen), cast("list[Factors]", images)


def _blocks(transformer: TwoWayTransformer) -> list[TwoWayBlock]:
    return cast("list[TwoWayBlock]", list(transformer.layers))


def _look_at_shared(attention: Attention, query: Tensor, shared: SharedImage) -> Tensor:
    """Tokens (N, T, C) attend to the image, those of all prompts as one sequence. -> (N, T, C)."""
    heads = attention.q_proj(query).flatten(0, 1)
    heads = heads.view(len(heads), attention.num_heads, -1)
    seen = F.scaled_dot_product_attention(
        heads.transpose(0, 1)[None], shared.keys[None], shared.values[None]
    )
    return attention.out_proj(seen[0].transpose(0, 1).flatten(1).view(*query.shape[:2], -1))


def _look(
    attention: Attention,
    query: Tensor,
    images: list[Factors | None],
    keys: Projected,
    values: Values,
) -> Tensor:
    """Tokens (N, T, C) attend each to their prompt's own image. -> (N, T, C)."""
    heads = _heads(attention, attention.q_proj(query), scaled=True)
    known = cast("list[Factors]", images)
    parts = torch.split(heads, [len(image) for image in known])
    seen = [
        values.weighed(keys.products(part, image).softmax(dim=3), image)
        for part, image in zip(parts, known, strict=True)
    ]
    return attention.out_proj(torch.cat(seen))


def _heads(attention: Attention, x: Tensor, scaled: bool = False) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D), scaled for products of D channels if asked."""
    heads = x.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
    return heads * heads.shape[3] ** -0.5 if scaled else heads
