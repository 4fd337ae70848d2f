"""The two-way transformer: prompt tokens attend to the image, and the image to them.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
Here L counts embedding cells, and T all tokens of a prompt, output tokens among them.
"""

from __future__ import annotations

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
        count = max(len(x) for x in heads)
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


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to image, MLP on tokens, image to tokens; a norm after each.

    One that does not tell ends before the image looks at the tokens.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        mlp_channels: int,
        downsample: int,
        first: bool,
        tells: bool,
    ) -> None:
        super().__init__()
        self.first, self.tells = first, tells
        self.self_attn = Attention(channels, num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, num_heads, downsample)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TokenMlp(channels, mlp_channels)
        self.norm3 = nn.LayerNorm(channels)
        if tells:
            self.norm4 = nn.LayerNorm(channels)
            self.cross_attn_image_to_token = Attention(channels, num_heads, downsample)

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, T, C), (N or 1, L, C), (N, T, C), (1, L, C) -> tokens (N, T, C), image.

        An image that all share, which was not told anything, is still one.
        """
        if self.first:  # the tokens are still their own positional encoding
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + token_pe
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        placed_image = image + image_pe
        seen = self.cross_attn_token_to_image(tokens + token_pe, placed_image, image)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        if not self.tells:
            return tokens, image
        told = self.cross_attn_image_to_token(placed_image, tokens + token_pe, tokens)
        return tokens, self.norm4(image + told)


class TwoWayTransformer(nn.Module):
    """`depth` blocks, then a last look of the tokens at the image.

    last_tells: of the last block; all others tell
    """

    def __init__(
        self,
        depth: int,
        channels: int,
        num_heads: int,
        mlp_channels: int,
        downsample: int,
        last_tells: bool = True,
    ) -> None:
        super().__init__()
        numbers = (channels, num_heads, mlp_channels, downsample)
        self.layers = nn.ModuleList(
            TwoWayBlock(*numbers, first=i == 0, tells=last_tells or i < depth - 1)
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(channels, num_heads, downsample)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, image: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, C), image (N or 1, L, C), its positions (1, L, C) -> both, transformed."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        seen = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + seen), image
