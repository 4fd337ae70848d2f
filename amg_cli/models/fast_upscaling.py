"""From an image in factors to the logits of its masks: the same numbers by less work.

`mask_decoder` defines what is computed. The first transposed convolution has no overlap, so it is a
projection of the image tokens, most of which all prompts share; the second is one of each quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.factors import Base, Factors
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
    """The upscaling of one image's masks; each pair is for the upper and the lower half of a cell.

    quarters: two of (U, 2 * C/4), of U cells that are drawn: the base, upscaled once
    matrices, constants: of that projection
    norm_weight, norm_bias, norm_eps: of the layer norm of a quarter's channels
    sixteenths, sixteenths_bias: the matrices from a quarter to its upper and its lower half
    layout: what is drawn; L = h * w
    """

    quarters: tuple[Tensor, Tensor]
    matrices: tuple[Tensor, Tensor]
    constants: tuple[Tensor, Tensor]
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
        halves, bias = _halves(first), first.bias.repeat(2)
        dtype = layout.dtype
        tokens = layout.used(base.tokens.T.contiguous()).T
        upper, lower = (linear(tokens, half).to(dtype) for half in halves)
        above, below = (linear(base.constant, half, bias).to(dtype) for half in halves)
        up, down = (half.to(dtype) for half in _halves(second))
        return FastUpscaling(
            quarters=(upper, lower),
            matrices=(halves[0].T, halves[1].T),
            constants=(above, below),
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
        shape = (*kernels.shape[:2], height, 2, 2, 4 * width)
        drawn = kernels.new_full(shape, UNDRAWN)
        dtype, channels = self.layout.dtype, self.norm_weight.shape
        kernels = kernels.to(dtype)
        scale, mix = (self.layout.used(x).to(dtype) for x in (image.scale, image.mix))
        mix = mix.mT.contiguous()
        for i in range(2):
            # Rows of pixels stay whole: cells of a row, then left and right, then channels.
            own = (image.spans @ self.matrices[i]).to(dtype)
            shared = self.quarters[i].expand(len(own), -1, -1)
            quarters = matmuls(mix, own, plus=shared)
            quarters = torch.addcmul(self.constants[i], quarters, scale[..., None])
            quarters = quarters.view(len(own), -1, *channels)
            quarters = F.layer_norm(
                quarters, channels, self.norm_weight, self.norm_bias, self.norm_eps
            )
            quarters = F.gelu(quarters)
            for j in range(2):
                pixels = linear(quarters, self.sixteenths[j], self.sixteenths_bias, gelu=True)
                logits = matmuls(kernels, pixels.view(len(kernels), -1, kernels.shape[2]).mT)
                rows = logits.view(*shape[:2], used_height, -1)
                drawn[:, :, :used_height, i, j, : 4 * used_width] = rows
        return drawn.flatten(2, 4)


def _halves(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A 2 x 2 transposed convolution of stride 2: the matrices to the upper and lower pixels.

    -> two of (2 * C_out, C_in), the left pixel's channels before the right one's.
    """
    upper, lower = convolution.weight.permute(2, 3, 1, 0).flatten(1, 2)
    return upper, lower
