"""From an image in factors to the logits of its masks: the same numbers by less work.

`mask_decoder` defines what is computed. The first transposed convolution has no overlap, so it is a
projection of the image tokens, most of which all prompts share; the second is one of each quarter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.fast.factors import Base, Factors
from amg_cli.models.products import linear, matmuls

UNDRAWN = -1e4  # a logit that is under every threshold; not infinite, as zero weights multiply it


@dataclass(frozen=True)
class Layout:
    """What is to be drawn, and how.

    cells_hw: the embedding's h and w; used_hw: those that the image covers, from the first on
    dtype: what products are computed in
    """

    cells_hw: tuple[int, int]
    used_hw: tuple[int, int]
    dtype: torch.dtype

    def used(self, x: Tensor) -> Tensor:
        """The cells that are drawn. (…, L) -> (…, U)."""
        cells = x.view(*x.shape[:-1], *self.cells_hw)
        return cells[..., : self.used_hw[0], : self.used_hw[1]].flatten(-2)


@dataclass(frozen=True)
class FastUpscaling:
    """The upscaling of one image's masks.

    quarters: (U, C), of U cells that are drawn: the base, upscaled once
    matrix, constant: (C, C), (C,), of that projection
    norm_weight, norm_bias, norm_eps: of the layer norm of a quarter's channels, C / 4
    sixteenths, sixteenths_bias: the matrices from a quarter to its upper and its lower half
    layout: what is drawn; L = h * w
    """

    quarters: Tensor
    matrix: Tensor
    constant: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    norm_eps: float
    sixteenths: tuple[Tensor, Tensor]
    sixteenths_bias: Tensor
    layout: Layout

    @staticmethod
    def of(upscaling: nn.Sequential, base: Base, layout: Layout) -> FastUpscaling:
        """Of the decoder's `output_upscaling`, and the image after the transformer."""
        layers: Any = upscaling  # a list of modules to the type checker
        first, norm, _, second, _ = layers
        dtype = layout.dtype
        matrix = torch.cat(_halves(first))
        tokens = layout.used(base.tokens.T.contiguous()).T
        up, down = (half.to(dtype) for half in _halves(second))
        return FastUpscaling(
            quarters=linear(tokens, matrix).to(dtype),
            matrix=matrix,
            constant=linear(base.constant, matrix, first.bias.repeat(4)).to(dtype),
            norm_weight=norm.weight.to(dtype),
            norm_bias=norm.bias.to(dtype),
            norm_eps=norm.eps,
            sixteenths=(up, down),
            sixteenths_bias=second.bias.repeat(2).to(dtype),
            layout=layout,
        )

    def draw(self, image: Factors, kernels: Tensor) -> Tensor:
        """N prompts' M masks each. kernels (N, M, C / 8) -> logits (N, M, 4h, 4w).

        They are `UNDRAWN` beyond the cells that the layout uses.
        """
        (height, width), (used_height, used_width) = self.layout.cells_hw, self.layout.used_hw
        # A cell's pixels: its upper and lower quarters, of each the upper and lower row, then of
        # each cell in a row the left and right quarters, and of each the left and right pixel.
        halves = self._halves(self._quarters(image), kernels.to(self.layout.dtype))
        if (used_height, used_width) == (height, width):
            drawn = torch.stack(list(halves), dim=4).to(kernels.dtype)
        else:
            drawn = kernels.new_full((*kernels.shape[:2], height, 2, 2, width, 2, 2), UNDRAWN)
            for i, half in enumerate(halves):
                drawn[:, :, :used_height, :, i, :used_width] = half
        return drawn.view(*kernels.shape[:2], 4 * height, 4 * width)

    def _halves(self, quarters: Tensor, kernels: Tensor) -> Iterator[Tensor]:
        """The upper and the lower row of each quarter. -> two of (N, M, U rows, 2, U columns, 2, 2)

        quarters (N, 4 * U, C / 4), kernels (N, M, C / 8)
        """
        for half in self.sixteenths:
            pixels = linear(quarters, half, self.sixteenths_bias, gelu=True)
            logits = matmuls(kernels, pixels.view(kernels.shape[0], -1, kernels.shape[2]).mT)
            yield logits.view(*kernels.shape[:2], *self.layout.used_hw, 2, 2, 2).transpose(3, 4)

    def _quarters(self, image: Factors) -> Tensor:
        """The image upscaled once, after norm and GELU: (N, 4 * U, C / 4), a cell's in order."""
        dtype, channels = self.layout.dtype, self.norm_weight.shape
        scale = self.layout.used(image.scale)
        mix = (self.layout.used(image.mix) * scale[:, None]).to(dtype)
        own = linear(image.spans, self.matrix).to(dtype)
        quarters = torch.baddbmm(self.constant, mix.mT, own)
        quarters = quarters.addcmul_(self.quarters, scale.to(dtype)[..., None])
        quarters = quarters.view(own.shape[0], -1, *channels)
        normed = F.layer_norm(quarters, channels, self.norm_weight, self.norm_bias, self.norm_eps)
        return torch.ops.aten.gelu_(normed)


def _halves(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A 2 x 2 transposed convolution of stride 2: the matrices to the upper and lower pixels.

    -> two of (2 * C_out, C_in), the left pixel's channels before the right one's.
    """
    upper, lower = convolution.weight.permute(2, 3, 1, 0).flatten(1, 2)
    return upper, lower
