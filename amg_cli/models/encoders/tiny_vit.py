"""TinyViT, the image encoder of MobileSAM: convolutions, then attention in windows.

Source: Wu et al. 2022, "TinyViT", with MobileSAM's change: the last merging keeps the
resolution, so that an embedding cell is 16 pixels wide. Parameter names are those of the official
checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from amg_cli.models.configs import TinyVitConfig
from amg_cli.models.layers import in_windows, neck
from amg_cli.models.products import Linear


class ConvNorm(nn.Sequential):
    """A convolution without bias, then batch norm. `c` and `bn` as in the checkpoint."""

    def __init__(
        self, channels_in: int, channels_out: int, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(
            channels_in, channels_out, size, stride, size // 2, groups=groups, bias=False
        )
        self.add_module("c", conv)
        self.add_module("bn", nn.BatchNorm2d(channels_out))

    def folded(self) -> nn.Conv2d:
        """The convolution that does the work of both, for inference."""
        conv, norm = self
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return fuse_conv_bn_eval(conv, norm)


class PatchEmbed(nn.Module):
    """Two strided convolutions: an image to cells of 4 by 4 pixels."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(channels_in, channels // 2, size=3, stride=2),
            nn.GELU(),
            ConvNorm(channels // 2, channels, size=3, stride=2),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H/4, W/4)."""
        return self.seq(image)


class MbConv(nn.Module):
    """Inverted bottleneck with a residual."""

    def __init__(self, channels: int, expand_ratio: float) -> None:
        super().__init__()
        hidden = int(channels * expand_ratio)
        self.conv1 = ConvNorm(channels, hidden)
        self.conv2 = ConvNorm(hidden, hidden, size=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """To the next stage's width and step."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels_in, channels_out)
        self.conv2 = ConvNorm(channels_out, channels_out, 3, stride, groups=channels_out)
        self.conv3 = ConvNorm(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h/stride, w/stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention with a learned bias for each distance in the window.

    The norm is inside. `attention_biases` is (heads, window²), one for each pair (|dy|, |dx|).
    """

    def __init__(self, channels: int, num_heads: int, window: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.qkv = Linear(channels, 3 * channels)
        self.proj = Linear(channels, channels)
        self.attention_biases = nn.Parameter(
            torch.zeros(num_heads, window * window, dtype=torch.float32)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, window, window, C) -> the same."""
        batch, tokens = x.shape[0], self.window * self.window
        # In the checkpoint each head's query, key and value lie side by side.
        qkv = self.qkv(self.norm(x)).view(batch, tokens, self.num_heads, 3, -1)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias())
        return self.proj(attended.transpose(1, 2).reshape(x.shape))

    def _bias(self) -> Tensor:
        """The bias of each pair of tokens. -> (1, heads, window², window²)."""
        device = self.attention_biases.device
        along = torch.arange(self.window, dtype=torch.int64, device=device)
        apart = (along[:, None] - along[None, :]).abs()
        distance = apart[:, None, :, None] * self.window + apart[None, :, None, :]
        tokens = self.window * self.window
        return self.attention_biases[:, distance.reshape(tokens, tokens)][None]


class Mlp(nn.Module):
    """Norm, widen, GELU, narrow."""

    def __init__(self, channels: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.fc1 = Linear(channels, hidden)
        self.fc2 = Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C)."""
        return self.fc2(self.fc1(self.norm(x), gelu=True))


class TinyVitBlock(nn.Module):
    """Attention in windows, a depthwise convolution, an MLP."""

    def __init__(self, config: TinyVitConfig, stage: int) -> None:
        super().__init__()
        channels = config.embed_dims[stage]
        eps = config.layer_norm_eps
        self.window = config.window_sizes[stage]
        self.attn = WindowAttention(channels, config.num_heads[stage], self.window, eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio), eps)
        self.local_conv = ConvNorm(channels, channels, size=config.local_conv_size, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        attended = in_windows(self.attn, x.permute(0, 2, 3, 1), self.window)
        x = x + attended.permute(0, 3, 1, 2)
        x = self.local_conv(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.mlp(tokens)
        return tokens.transpose(1, 2).reshape(x.shape)


class Stage(nn.Module):
    """Blocks, then a merging but for the last stage."""

    def __init__(self, config: TinyVitConfig, stage: int) -> None:
        super().__init__()
        channels, depth = config.embed_dims[stage], config.depths[stage]
        self.blocks = nn.Sequential(
            *(
                TinyVitBlock(config, stage)
                if stage
                else MbConv(channels, config.mbconv_expand_ratio)
                for _ in range(depth)
            )
        )
        if stage < len(config.strides):
            merged = config.embed_dims[stage + 1]
            self.downsample = PatchMerging(channels, merged, config.strides[stage])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h/stride, w/stride)."""
        x = self.blocks(x)
        return self.downsample(x) if hasattr(self, "downsample") else x


class TinyVit(nn.Module):
    """The image encoder.

    in_16_bits: whether it may be computed so. This one is not worth it: it would save at most a
        fifth of a second on a CPU, of some ten for a photograph, and move one mask in twelve.
    """

    in_16_bits = False

    def __init__(self, config: TinyVitConfig, embed_dim: int) -> None:
        super().__init__()
        self.early_stage = 1 if config.early_level else -1
        self.patch_embed = PatchEmbed(config.in_channels, config.embed_dims[0])
        self.layers = nn.Sequential(*(Stage(config, i) for i in range(len(config.depths))))
        self.neck = neck(config.embed_dims[-1], embed_dim)

    def fold(self) -> None:
        """Fold the batch norms into their convolutions: the same results by less work.

        For inference: the parameters are then no longer those of a checkpoint.
        """
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, ConvNorm):
                    setattr(module, name, child.folded())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one level, (B, C, H/stride, W/stride), or the early one after it.

        H and W are any.
        """
        image = image.contiguous(memory_format=torch.channels_last)  # on a CPU a third faster
        x = self.patch_embed(image)
        early: tuple[Tensor, ...] = ()
        for i, stage in enumerate(self.layers):
            x = stage(x)
            if i == self.early_stage:
                early = (x,)
        return self.neck(x), *early
