"""Layers that more than one part of the network uses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.products import Linear


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(channels, dtype=torch.float32))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        channels_last = x.permute(0, 2, 3, 1)
        normed = F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """`depth` linear layers with ReLU between."""

    def __init__(self, channels_in: int, hidden: int, channels_out: int, depth: int) -> None:
        super().__init__()
        widths = [channels_in, *[hidden] * (depth - 1), channels_out]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(…, C_in) -> (…, C_out)."""
        *hidden_layers, last = self.layers
        for layer in hidden_layers:
            x = F.relu(layer(x))
        return last(x)


class Tokens(nn.Module):
    """Learned tokens, `weight` (count, C). An `nn.Embedding` that nothing looks up."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, channels, dtype=torch.float32))
        draw(self.weight)


class DropPath(nn.Module):
    """In training, drop a residual branch of some images, and scale up the others'."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) -> (B, …)."""
        if not self.training or self.rate == 0:
            return x
        shape = (len(x), *[1] * (x.ndim - 1))
        kept = torch.rand(shape, dtype=torch.float32, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


def draw(tensor: Tensor) -> None:
    """Fill with normal numbers, but not on the meta device, which loading builds models on.

    There torch would import for half a second; on any other it would move the caller's generator.
    """
    if not tensor.is_meta:
        nn.init.normal_(tensor)


def in_windows(layer: nn.Module, x: Tensor, window: int) -> Tensor:
    """Apply `layer` to each window of `x`, padded with zeros to whole ones; to all of it for 0.

    (B, h, w, C) -> (B, h, w, C); or, of a layer that halves its sides, (B, h / 2, w / 2, C').
    """
    if not window:
        return layer(x)
    batch, height, width, channels = x.shape
    # So that an exporter sees that the padded sides are multiples of a window. Of negative numbers
    # ONNX rounds quotients the other way.
    rows, columns = ((side + window - 1) // window for side in (height, width))
    x = F.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
    windows = x.view(batch, rows, window, columns, window, channels).transpose(2, 3)
    done = layer(windows.reshape(-1, window, window, channels))
    left, channels = done.shape[1], done.shape[3]
    done = done.view(batch, rows, columns, left, left, channels).transpose(2, 3)
    whole = done.reshape(batch, rows * left, columns * left, channels)
    return whole[:, : height * left // window, : width * left // window]


def neck(channels_in: int, channels_out: int) -> nn.Sequential:
    """From an encoder's last stage to the embedding. (B, C_in, h, w) -> (B, C_out, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False),
        LayerNorm2d(channels_out),
        nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(channels_out),
    )
