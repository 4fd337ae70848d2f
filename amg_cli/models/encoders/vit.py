"""ViT, the image encoder of Segment Anything: attention in windows and, in a few blocks, over all.

Source: Kirillov et al. 2023, "Segment Anything"; Li et al. 2022, "ViTDet". Parameter names are
those of the official checkpoints. Inside, images are channels last: (B, h, w, C), h w in patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.configs import VitConfig
from amg_cli.models.layers import DropPath, in_windows, neck
from amg_cli.models.products import Linear


class PatchEmbed(nn.Module):
    """One token a patch."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(config.in_channels, config.embed_dim, size, size)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h, w, C)."""
        return self.proj(image).permute(0, 2, 3, 1)


# Rows of queries whose biases are held at a time: for ViT-H 0.3 GB, where all are 1.1 GB.
ROWS_AT_A_TIME = 16


class Attention(nn.Module):
    """Self-attention over all patches it is given, with a bias from their distance in each axis."""

    def __init__(self, config: VitConfig, trained_hw: tuple[int, int]) -> None:
        super().__init__()
        channels = config.embed_dim
        self.num_heads = config.nb_heads
        self.qkv = Linear(channels, 3 * channels, bias=config.qkv_bias)
        self.proj = Linear(channels, channels)
        self.attn_drop_rate = config.attn_drop_rate
        self.drop = nn.Dropout(config.drop_rate)
        self.use_rel_pos = config.use_rel_pos
        if config.use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = (
                nn.Parameter(
                    torch.zeros(2 * side - 1, channels // config.nb_heads, dtype=torch.float32)
                )
                for side in trained_hw
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).view(batch, height, width, 3, self.num_heads, -1)
        query, key, value = qkv.permute(3, 0, 4, 1, 2, 5)
        key, value = key.flatten(2, 3), value.flatten(2, 3)
        dropout = self.attn_drop_rate if self.training else 0.0
        attended = []
        for top in range(0, height, ROWS_AT_A_TIME):
            part = query[:, :, top : top + ROWS_AT_A_TIME]
            bias = self._bias(part, top, (height, width)) if self.use_rel_pos else None
            part = part.flatten(2, 3)
            attended.append(F.scaled_dot_product_attention(part, key, value, bias, dropout))
        return self.drop(self.proj(torch.cat(attended, dim=2).transpose(1, 2).reshape(x.shape)))

    def _bias(self, query: Tensor, top: int, size_hw: tuple[int, int]) -> Tensor:
        """Query times the embedding of each distance; the two axes add up.

        query: (B, heads, rows, w, C/heads), those from row `top` on -> (B, heads, rows·w, h·w).
        """
        height, width = size_hw
        above = distances(self.rel_pos_h, height)[top : top + query.shape[2]]
        along_h = torch.einsum("nqhwc,hkc->nqhwk", query, above)
        along_w = torch.einsum("nqhwc,wkc->nqhwk", query, distances(self.rel_pos_w, width))
        # A sum lies in memory as its summands do; to be flattened it would else be copied.
        along_h, along_w = along_h.contiguous(), along_w.contiguous()
        return (along_h[..., :, None] + along_w[..., None, :]).flatten(4).flatten(2, 3)


def distances(embeddings: Tensor, size: int) -> Tensor:
    """The embedding of the distance from each place to each, along an axis of `size` places.

    (2 · trained size - 1, C) -> (size, size, C). For another size than the trained one the
    embeddings are interpolated linearly, as in the published code.
    """
    if len(embeddings) != 2 * size - 1:
        stretched = F.interpolate(embeddings.T[None], 2 * size - 1, mode="linear")
        embeddings = stretched[0].T
    place = torch.arange(size, dtype=torch.int64, device=embeddings.device)
    return embeddings[place[:, None] - place[None, :] + size - 1]


class Mlp(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        hidden = int(config.embed_dim * config.mlp_ratio)
        self.lin1 = Linear(config.embed_dim, hidden)
        self.lin2 = Linear(hidden, config.embed_dim)
        self.drop = nn.Dropout(config.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)."""
        return self.drop(self.lin2(self.lin1(x, gelu=True)))


class Block(nn.Module):
    """Attention and an MLP, each after a norm and with a residual."""

    def __init__(self, config: VitConfig, index: int) -> None:
        super().__init__()
        self.window = 0 if index in config.global_blocks else config.window_size
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        trained_hw = (self.window, self.window) if self.window else config.grid_hw
        self.attn = Attention(config, trained_hw)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)
        # Later blocks are dropped more often, up to the rate itself.
        self.drop_path = DropPath(config.drop_path_rate * index / max(1, config.nb_blocks - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        attend = in_windows(self.attn, self.norm1(x), self.window)
        x = x + self.drop_path(attend)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Vit(nn.Module):
    """The image encoder.

    in_16_bits: whether it may be computed so. On a CPU made for that it takes a third less time.
    """

    in_16_bits = True

    def __init__(self, config: VitConfig, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.patch_embed = PatchEmbed(config)
        if config.use_abs_pos:
            shape = (1, *config.grid_hw, config.embed_dim)
            self.pos_embed = nn.Parameter(torch.zeros(shape, dtype=torch.float32))
        self.use_abs_pos = config.use_abs_pos
        self.early_block = min(config.global_blocks) if config.early_level else -1
        self.blocks = nn.Sequential(*(Block(config, i) for i in range(config.nb_blocks)))
        self.neck = neck(config.embed_dim, embed_dim)

    def fold(self) -> None:
        """Ready for inference as it is: there are no batch norms to fold."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one level, (B, C, H/patch, W/patch); or the early one after it.

        Raises ValueError where H and W are no multiples of the patch.
        """
        if any(side % self.patch_size for side in image.shape[2:]):
            wanted = f"sides that are multiples of {self.patch_size} are wanted"
            raise ValueError(f"image: {wanted}, not {tuple(image.shape[2:])}")
        x = self.patch_embed(image)
        if self.use_abs_pos:
            x = x + self._positions(x.shape[1], x.shape[2])
        early: tuple[Tensor, ...] = ()
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.early_block:
                early = (x.permute(0, 3, 1, 2),)
        return self.neck(x.permute(0, 3, 1, 2)), *early

    def _positions(self, height: int, width: int) -> Tensor:
        """The position embeddings, stretched where the input is not of the trained size.

        -> (1, h, w, C).
        """
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        trained = self.pos_embed.permute(0, 3, 1, 2)
        stretched = F.interpolate(trained, (height, width), mode="bicubic", antialias=False)
        return stretched.permute(0, 2, 3, 1)
