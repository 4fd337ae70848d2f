"""The two-way transformer: prompt tokens attend to the image, and the image to them.

It is stated once, over an image that may be plain tokens, which define what is computed, or, in
`amg_cli.models.fast`, factors, which are the same by less work.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
N counts prompts, L embedding cells, T all tokens of a prompt, output tokens among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.products import Linear


class Attention(nn.Module):
    """Multi-head attention, inside at C / downsample channels."""

    def __init__(self, channels: int, num_heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = channels // downsample
        self.num_heads = num_heads
        self.q_proj = Linear(channels, inner)
        self.k_proj = Linear(channels, inner)
        self.v_proj = Linear(channels, inner)
        self.out_proj = Linear(inner, channels)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(N, A, C), (N, B, C), (N, B, C) -> (N, A, C). What all share may have 1 for N."""
        heads = (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        count = max(x.shape[0] for x in heads)
        q, k, v = (
            x.unflatten(2, (self.num_heads, -1)).transpose(1, 2).expand(count, -1, -1, -1)
            for x in heads
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class TokenMlp(nn.Module):
    """Widen, ReLU, narrow."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = Linear(channels, hidden)
        self.lin2 = Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        return self.lin2(F.relu(self.lin1(x)))


class Image(Protocol):
    """The image as N prompts have left it so far."""

    def attended_by(self, query: Tensor, block: int, attention: Attention) -> Tensor:
        """Tokens attend to the image. query (N, T, C) -> (N, T, C).

        block: which of the transformer's; the last attention of the tokens comes after the blocks
        """

    def updated(self: AnImage, keys: Tensor, tokens: Tensor, layer: TwoWayBlock) -> AnImage:
        """The image once it has attended to the tokens, and is normed. keys, tokens: (N, T, C)."""


AnImage = TypeVar("AnImage", bound=Image)


@dataclass(frozen=True)
class PlainImage:
    """Every token of the image, as published.

    tokens (N, L, C), or (1, L, C) while all prompts share them; positions (1, L, C)
    """

    tokens: Tensor
    positions: Tensor

    def attended_by(self, query: Tensor, block: int, attention: Attention) -> Tensor:
        """As `Image`."""
        return attention(query, self.tokens + self.positions, self.tokens)

    def updated(self, keys: Tensor, tokens: Tensor, layer: TwoWayBlock) -> PlainImage:
        """As `Image`."""
        added = layer.cross_attn_image_to_token(self.tokens + self.positions, keys, tokens)
        return PlainImage(layer.norm4(self.tokens + added), self.positions)


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to image, MLP on tokens, image to tokens; a norm after each.

    index: of the block in the transformer
    updates_image: otherwise the block ends before the image attends to the tokens
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        mlp_channels: int,
        downsample: int,
        index: int,
        updates_image: bool,
    ) -> None:
        super().__init__()
        self.index, self.updates_image = index, updates_image
        self.self_attn = Attention(channels, num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, num_heads, downsample)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TokenMlp(channels, mlp_channels)
        self.norm3 = nn.LayerNorm(channels)
        if updates_image:
            self.norm4 = nn.LayerNorm(channels)
            self.cross_attn_image_to_token = Attention(channels, num_heads, downsample)

    def forward(self, tokens: Tensor, image: AnImage, token_pe: Tensor) -> tuple[Tensor, AnImage]:
        """Tokens (N, T, C), image, the tokens' own encodings (N, T, C) -> tokens, image."""
        if self.index == 0:  # the tokens are still their own positional encoding
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + token_pe
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        query = tokens + token_pe
        attended = image.attended_by(query, self.index, self.cross_attn_token_to_image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        if self.updates_image:
            image = image.updated(tokens + token_pe, tokens, self)
        return tokens, image


class TwoWayTransformer(nn.Module):
    """`depth` blocks, then the tokens attend to the image once more.

    last_updates_image: of the last block; all others do
    """

    def __init__(
        self,
        depth: int,
        channels: int,
        num_heads: int,
        mlp_channels: int,
        downsample: int,
        last_updates_image: bool = True,
    ) -> None:
        super().__init__()
        numbers = (channels, num_heads, mlp_channels, downsample)
        self.layers = nn.ModuleList(
            TwoWayBlock(*numbers, index=i, updates_image=last_updates_image or i < depth - 1)
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(channels, num_heads, downsample)
        self.norm_final_attn = nn.LayerNorm(channels)

    @property
    def blocks(self) -> list[TwoWayBlock]:
        """The blocks, in order."""
        return cast("list[TwoWayBlock]", list(self.layers))

    def forward(self, tokens: Tensor, image: AnImage, nb_wanted: int) -> tuple[Tensor, AnImage]:
        """Tokens (N, T, C) and the image -> the first tokens (N, nb_wanted, C), and the image."""
        token_pe = tokens
        for block in self.blocks:
            tokens, image = block(tokens, image, token_pe)
        tokens, token_pe = tokens[:, :nb_wanted], token_pe[:, :nb_wanted]
        attention = self.final_attn_token_to_image
        attended = image.attended_by(tokens + token_pe, len(self.layers), attention)
        return self.norm_final_attn(tokens + attended), image
