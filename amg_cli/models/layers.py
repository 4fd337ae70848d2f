"""Layers that more than one part of the network uses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
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
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(…, C_in) -> (…, C_out)."""
        *hidden_layers, last = self.layers
        for layer in hidden_layers:
            x = F.relu(layer(x))
        return last(x)


def neck(channels_in: int, channels_out: int) -> nn.Sequential:
    """From an encoder's last stage to the embedding. (B, C_in, h, w) -> (B, C_out, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False),
        LayerNorm2d(channels_out),
        nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(channels_out),
    )
