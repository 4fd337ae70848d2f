"""The two-way decoder for many prompts on one image: the same numbers by less work.

`transformer` and `mask_decoder` define what is computed. Here, with the same weights,

- what no prompt touches is computed once an image: the image's side of the first block's attention;
- where the image tokens differ by prompt, the few prompt tokens are projected in their stead:
  (W x) · q = x · (Wᵀ q), and W of a weighted sum is the weighted sum of W;
- the positions of image tokens, the same for all prompts, are projected once an image;
- transposed convolutions without overlap are matrix products, cell by cell.

For inference: it writes over its own intermediate results.
N counts prompts, L embedding cells, T tokens of a prompt, H heads of D channels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.transformer import Attention, TwoWayBlock, TwoWayTransformer


@dataclass(frozen=True)
class SharedImage:
    """What all prompts on one image have in common.

    tokens:  (L, C), the image before the first block
    keys, values: (H, L, D), for the tokens' look at it in the first block
    looks:   (H, D, L) for each later look of the tokens at the image: its positions, projected
    tellings: (H, D, L) for each block's telling the image of the tokens: in the first block the
             image with its positions, projected; in later ones its positions alone
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor
    looks: tuple[Tensor, ...]
    tellings: tuple[Tensor, ...]


def share(transformer: TwoWayTransformer, image: Tensor, positions: Tensor) -> SharedImage:
    """Project an image for all its prompts. image, positions: (L, C)."""
    first, *later = _blocks(transformer)
    placed = image + positions
    look = first.cross_attn_token_to_image
    looks = [layer.cross_attn_token_to_image for layer in later]
    looks.append(transformer.final_attn_token_to_image)
    told = [(first.cross_attn_image_to_token, placed)]
    told += [(layer.cross_attn_image_to_token, positions) for layer in later]
    return SharedImage(
        tokens=image,
        keys=_by_head(look.k_proj(placed), look.num_heads),
        values=_by_head(look.v_proj(image), look.num_heads),
        looks=tuple(
            _by_head(look.k_proj(positions), look.num_heads).transpose(1, 2).contiguous()
            for look in looks
        ),
        tellings=tuple(
            _by_head(tell.q_proj(x), tell.num_heads).transpose(1, 2).contiguous()
            for tell, x in told
        ),
    )


def pays(transformer: TwoWayTransformer, nb_tokens: int) -> bool:
    """Whether it is less work to project the tokens of a prompt than the image."""
    attention = transformer.final_attn_token_to_image
    return nb_tokens * attention.num_heads < attention.q_proj.out_features


def transform(
    transformer: TwoWayTransformer, tokens: Tensor, shared: SharedImage
) -> tuple[Tensor, Tensor]:
    """What the transformer makes of (N, T, C) tokens: tokens (N, T, C) and image (N, L, C)."""
    first, *later = _blocks(transformer)
    token_pe = tokens
    tokens = first.norm1(first.self_attn(tokens, tokens, tokens))
    seen = _look_at_shared(first.cross_attn_token_to_image, tokens + token_pe, shared)
    tokens = _take_in(first, tokens, seen)
    tell = first.cross_attn_image_to_token
    scores = _placed_scores(_heads(tell.k_proj(tokens + token_pe), tell), shared.tellings[0])
    image = shared.tokens.expand(len(tokens), -1, -1)
    image = first.norm4(torch.baddbmm(image, *_told(tell, scores, tokens)))
    for layer, looks, tellings in zip(later, shared.looks, shared.tellings[1:], strict=False):
        placed = tokens + token_pe
        tokens = layer.norm1(tokens + layer.self_attn(placed, placed, tokens))
        seen = _look(layer.cross_attn_token_to_image, tokens + token_pe, image, looks)
        tokens = _take_in(layer, tokens, seen)
        tell = layer.cross_attn_image_to_token
        scores = _scores(_heads(tell.k_proj(tokens + token_pe), tell), tell.q_proj, image, tellings)
        image = layer.norm4(image.baddbmm_(*_told(tell, scores, tokens)))
    final = transformer.final_attn_token_to_image
    seen = _look(final, tokens + token_pe, image, shared.looks[-1])
    return transformer.norm_final_attn(tokens + seen), image


def upscale(
    upscaling: nn.Sequential, image: Tensor, kernels: Tensor, cells_hw: tuple[int, int]
) -> Tensor:
    """Draw M masks a prompt: what `upscaling` makes of its image, weighed by its kernels.

    image (N, L, C), kernels (N, M, C / 8) -> logits (N, M, 4h, 4w).
    """
    layers: Any = upscaling  # a list of modules to the type checker
    first, norm, _, second, _ = layers
    height, width = cells_hw
    to_quarters, to_sixteenths = _as_matrix(first), _as_matrix(second)
    drawn = image.new_empty(*kernels.shape[:2], 4 * height, 4 * width)
    for i, cells in enumerate(image):  # one prompt's cells stay in the cache
        quarters = F.linear(cells, to_quarters, first.bias.repeat(4)).view(-1, first.out_channels)
        quarters = F.layer_norm(quarters, norm.weight.shape, norm.weight, norm.bias, norm.eps)
        pixels = F.linear(F.gelu(quarters), to_sixteenths, second.bias.repeat(4))
        logits = F.gelu(pixels.view(-1, second.out_channels)) @ kernels[i].T
        # (h, w, 2, 2, 2, 2, M): a cell's quarters by row and column, and theirs.
        by_cell = logits.view(height, width, 2, 2, 2, 2, -1).permute(6, 0, 2, 4, 1, 3, 5)
        drawn[i].view(by_cell.shape).copy_(by_cell)
    return drawn


def _blocks(transformer: TwoWayTransformer) -> list[TwoWayBlock]:
    return cast("list[TwoWayBlock]", list(transformer.layers))


def _as_matrix(convolution: nn.ConvTranspose2d) -> Tensor:
    """The weights of a 2 x 2 transposed convolution of stride 2. -> (4 * C_out, C_in)."""
    return convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)


def _take_in(layer: TwoWayBlock, tokens: Tensor, seen: Tensor) -> Tensor:
    """Add what the tokens have seen of the image, and think about it. (N, T, C)."""
    tokens = layer.norm2(tokens + seen)
    return layer.norm3(tokens + layer.mlp(tokens))


def _look_at_shared(attention: Attention, query: Tensor, shared: SharedImage) -> Tensor:
    """Tokens (N, T, C) attend to the image, those of all prompts as one sequence. -> (N, T, C)."""
    heads = _by_head(attention.q_proj(query).flatten(0, 1), attention.num_heads)
    seen = F.scaled_dot_product_attention(heads[None], shared.keys[None], shared.values[None])[0]
    return attention.out_proj(seen.transpose(0, 1).flatten(1).view(*query.shape[:2], -1))


def _look(attention: Attention, query: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Tokens (N, T, C) attend to their prompt's own image (N, L, C). -> (N, T, C)."""
    heads = _heads(attention.q_proj(query), attention)
    weights = _scores(heads, attention.k_proj, image, positions).softmax(dim=3)
    seen = torch.bmm(weights.flatten(1, 2), image).view(*heads.shape[:3], -1)  # (N, H, T, C)
    value = attention.v_proj.weight.view(attention.num_heads, -1, image.shape[2])
    told = (seen @ value.transpose(1, 2)).transpose(1, 2).flatten(2) + attention.v_proj.bias
    return attention.out_proj(told)


def _told(attention: Attention, scores: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """What the image attends to among tokens, as two factors: (N, L, H * T), (N, H * T, C).

    scores (N, H, T, L), value (N, T, C). The output's bias rides on the values, as the weights of
    each head sum to 1.
    """
    weights = scores.softmax(dim=2).flatten(1, 2).transpose(1, 2)
    heads = _heads(attention.v_proj(value), attention, scale=False)
    out = attention.out_proj.weight.T.view(attention.num_heads, -1, value.shape[2])
    carried = heads @ out + attention.out_proj.bias / attention.num_heads
    return weights, carried.flatten(1, 2)


def _scores(heads: Tensor, of_image: nn.Linear, image: Tensor, positions: Tensor) -> Tensor:
    """Products of tokens with image tokens and their positions. (N, H, T, D) -> (N, H, T, L).

    The projection of the image, (H * D, C), is applied to the tokens instead.
    """
    weight = of_image.weight.view(heads.shape[1], -1, image.shape[2])
    absorbed = (heads @ weight).flatten(1, 2)
    scores = torch.bmm(absorbed, image.transpose(1, 2)).view(*heads.shape[:3], -1)
    return scores.add_(_placed_scores(heads, positions))


def _placed_scores(heads: Tensor, positions: Tensor) -> Tensor:
    """Products of tokens with what all prompts share. (N, H, T, D), (H, D, L) -> (N, H, T, L)."""
    in_a_row = heads.transpose(0, 1).flatten(1, 2)
    products = torch.bmm(in_a_row, positions)
    return products.view(-1, len(heads), *heads.shape[2:3], positions.shape[2]).transpose(0, 1)


def _heads(x: Tensor, attention: Attention, scale: bool = True) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D), scaled for products of D channels."""
    heads = x.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
    return heads * heads.shape[3] ** -0.5 if scale else heads


def _by_head(x: Tensor, num_heads: int) -> Tensor:
    """(L, H * D) -> (H, L, D)."""
    return x.view(len(x), num_heads, -1).transpose(0, 1).contiguous()
