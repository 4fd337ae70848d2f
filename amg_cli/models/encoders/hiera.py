"""Hiera, the image encoder of SAM 2: a transformer of four stages, and a neck that joins them.

Source: Ryali et al. 2023, "Hiera"; Bolya et al. 2023, "Window Attention is Bugged"; Ravi et al.
2024, "SAM 2". Parameter names are those of the official checkpoints, but for three that stand
elsewhere there. Inside, images are channels last: (B, h, w, C), h w in tokens.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.configs import HieraConfig
from amg_cli.models.layers import in_windows
from amg_cli.models.products import Linear


class PatchEmbed(nn.Module):
    """One token every four pixels, of the pixels around it."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.embed_dim, 7, stride=4, padding=3)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h, w, C)."""
        return self.proj(image).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Self-attention over all tokens it is given; of four tokens one may ask for all.

    pools: it asks with the largest of each channel of four tokens, and so halves the sides
    """

    def __init__(
        self, channels_in: int, channels_out: int, num_heads: int, pools: bool = False
    ) -> None:
        super().__init__()
        self.num_heads, self.pools = num_heads, pools
        self.qkv = Linear(channels_in, 3 * channels_out)
        self.proj = Linear(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C'), or (B, h / 2, w / 2, C')."""
        query, key, value = self.qkv(x).chunk(3, dim=3)
        query = halved(query) if self.pools else query
        heads = (
            each.flatten(1, 2).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for each in (query, key, value)
        )
        attended = F.scaled_dot_product_attention(*heads)
        return self.proj(attended.transpose(1, 2).reshape(query.shape))


class Mlp(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Linear(channels, hidden), Linear(hidden, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)."""
        widen, narrow = self.layers
        return cast("Tensor", narrow(widen(x, gelu=True)))


class Block(nn.Module):
    """Attention and an MLP, each after a norm and with a residual.

    window: side of the windows that attention is in, in tokens before any halving; 0 for all of
        the image
    widens: the first block of a stage but the first, which doubles channels and halves sides
    """

    def __init__(
        self, config: HieraConfig, channels: int, num_heads: int, window: int, widens: bool
    ) -> None:
        super().__init__()
        self.window, self.widens = window, widens
        channels_in = channels // 2 if widens else channels
        self.norm1 = nn.LayerNorm(channels_in, eps=config.layer_norm_eps)
        self.attn = Attention(channels_in, channels, num_heads, pools=widens)
        self.norm2 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))
        if widens:
            self.proj = Linear(channels_in, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> the same; or, where it widens, (B, h / 2, w / 2, 2 C)."""
        normed = self.norm1(x)
        if self.widens:
            x = halved(self.proj(normed))
        x = x + in_windows(self.attn, normed, self.window)
        return x + self.mlp(self.norm2(x))


class Trunk(nn.Module):
    """The transformer: what each stage makes of an image."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.side_multiple = config.side_multiple
        self.patch_embed = PatchEmbed(config)
        first_window = config.window_sizes[0]
        self.pos_embed, self.pos_embed_window = (
            nn.Parameter(torch.zeros(1, config.embed_dim, *size_hw, dtype=torch.float32))
            for size_hw in (config.position_hw, (first_window, first_window))
        )
        blocks: list[Block] = []
        self.last_of_stages: list[int] = []
        for stage, depth in enumerate(config.depths):
            channels, heads = config.embed_dim * 2**stage, config.nb_heads * 2**stage
            for i in range(depth):
                widens = i == 0 and stage > 0
                window = config.window_sizes[stage - 1 if widens else stage]
                window = 0 if len(blocks) in config.global_blocks else window
                blocks.append(Block(config, channels, heads, window, widens))
            self.last_of_stages.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> of each stage (B, C, h, w), the finest first.

        Raises ValueError where H and W are no multiples of `side_multiple`.
        """
        if any(side % self.side_multiple for side in image.shape[2:]):
            wanted = f"sides that are multiples of {self.side_multiple} are wanted"
            raise ValueError(f"image: {wanted}, not {tuple(image.shape[2:])}")
        x = self.patch_embed(image)
        x = x + self._positions(x.shape[1], x.shape[2])
        stages = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.last_of_stages:
                stages.append(x.permute(0, 3, 1, 2))
        return stages

    def _positions(self, height: int, width: int) -> Tensor:
        """Coarse position embeddings, stretched, and those of a window, repeated: (1, h, w, C)."""
        coarse = F.interpolate(self.pos_embed, (height, width), mode="bicubic")
        rows, columns = (
            side // own
            for side, own in zip((height, width), self.pos_embed_window.shape[2:], strict=True)
        )
        return (coarse + self.pos_embed_window.repeat(1, 1, rows, columns)).permute(0, 2, 3, 1)


class Lateral(nn.Module):
    """From one stage's channels to those of the embedding."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C_out, h, w)."""
        return self.conv(x)

    def then(self, other: nn.Conv2d) -> None:
        """Do the work of another convolution of single pixels as well."""
        conv, weight = self.conv, other.weight.flatten(1)
        bias = weight @ cast("Tensor", conv.bias) + cast("Tensor", other.bias)
        product = (weight @ conv.weight.flatten(1))[..., None, None]
        conv.weight, conv.bias = (
            nn.Parameter(value, requires_grad=conv.weight.requires_grad)
            for value in (product, bias)
        )
        conv.out_channels = other.out_channels


class Neck(nn.Module):
    """All stages in the embedding's channels, the last added to the one before.

    convs: of the coarsest stage first
    """

    def __init__(self, config: HieraConfig, embed_dim: int) -> None:
        super().__init__()
        stages = reversed(range(len(config.depths)))
        self.convs = nn.ModuleList(Lateral(config.embed_dim * 2**i, embed_dim) for i in stages)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """(B, C_stage, h, w), the finest first -> (B, C, h, w), all but the last, coarsest first.

        Under autocast the last stage is added in single precision, as it is published.
        """
        last, embedding, *finer = (
            conv(stage) for conv, stage in zip(self.convs, reversed(stages), strict=True)
        )
        return [embedding + F.interpolate(last.float(), scale_factor=2.0, mode="nearest"), *finer]


class Hiera(nn.Module):
    """The image encoder.

    no_mem_embed: added to each cell of an image that no frame of a video went before
    conv_s1, conv_s0: from the two finer levels to the channels in which masks are drawn on them
    in_16_bits: whether it may be computed so
    The official checkpoints have the three outside the encoder, where each call uses them.
    """

    in_16_bits = True

    def __init__(self, config: HieraConfig, embed_dim: int) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.neck = Neck(config, embed_dim)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, embed_dim, dtype=torch.float32))
        self.conv_s0: nn.Module = nn.Conv2d(embed_dim, embed_dim // 8, kernel_size=1)
        self.conv_s1: nn.Module = nn.Conv2d(embed_dim, embed_dim // 4, kernel_size=1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, C, H/16, W/16), (B, C/4, H/8, W/8), (B, C/8, H/4, W/4).

        Errors as of `Trunk`.
        """
        embedding, half, quarter = self.neck(self.trunk(image))
        no_mem = self.no_mem_embed.view(1, -1, 1, 1)
        return embedding + no_mem, self.conv_s1(half), self.conv_s0(quarter)

    @torch.no_grad()
    def fold(self) -> None:
        """Make one convolution of the two that follow each other on each finer level.

        For inference: the parameters are then no longer those of a checkpoint.
        """
        _, _, *finer = cast("list[Lateral]", list(self.neck.convs))
        for lateral, name in zip(finer, ("conv_s1", "conv_s0"), strict=True):
            lateral.then(cast("nn.Conv2d", getattr(self, name)))
            setattr(self, name, nn.Identity())


def halved(x: Tensor) -> Tensor:
    """The largest of each channel of two by two tokens. (B, h, w, C) -> (B, h / 2, w / 2, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2).permute(0, 2, 3, 1)
