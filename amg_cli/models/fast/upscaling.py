"""From an image in factors to the logits of its masks: the same numbers by less work.

`mask_decoder` defines what is computed. The first transposed convolution has no overlap, so it is a
projection of the image tokens, most of which all prompts share; the second is one of each quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

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

    def of_quarters(self, level: Tensor) -> Tensor:
        """A level of quarters, in the order of a cell's own. (C, 2h, 2w) -> (U, 4 * C)."""
        (height, width), (used_height, used_width) = self.cells_hw, self.used_hw
        cells = level.view(-1, height, 2, width, 2)[:, :used_height, :, :used_width]
        return cells.permute(1, 3, 2, 4, 0).flatten(2).flatten(0, 1).to(self.dtype)

    def of_halves(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """A level of pixels: the upper and the lower row of each quarter, in the order of those.

        (C, 4h, 4w) -> two of (4 * U, 2 * C)
        """
        (height, width), (used_height, used_width) = self.cells_hw, self.used_hw
        cells = level.view(-1, height, 2, 2, width, 2, 2)[:, :used_height, :, :, :used_width]
        upper, lower = cells.permute(3, 1, 4, 2, 5, 6, 0).flatten(5).flatten(1, 4).to(self.dtype)
        return upper, lower


class Drawing(Protocol):
    """From an image in factors to the logits of its masks. layout: what is drawn."""

    @property
    def layout(self) -> Layout:
        """What is drawn; L = h * w."""

    def draw(self, image: Factors, kernels: Tensor) -> Tensor:
        """N prompts' M masks each. kernels (N, M, C') -> logits (N, M, 4h, 4w).

        They are `UNDRAWN` beyond the cells that the layout uses.
        """


@dataclass(frozen=True)
class FastUpscaling:
    """The upscaling of one image's masks.

    quarters: (U, C), of U cells that are drawn: the base, upscaled once
    matrix, constant: (C, C), of that projection, and (C,) or, with finer levels, (U, C)
    norm_weight, norm_bias, norm_eps: of the layer norm of a quarter's channels, C / 4
    sixteenths, sixteenths_bias: the matrices from a quarter to its upper and its lower half
    pixels: two of (4 * U, C / 4), what a finer level adds to the pixels of those; or none
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
    pixels: tuple[Tensor, ...]
    layout: Layout

    @staticmethod
    def of(
        upscaling: nn.Sequential, base: Base, layout: Layout, finer: Sequence[Tensor] = ()
    ) -> FastUpscaling:
        """Of the decoder's `output_upscaling`, and the image after the transformer.

        finer: levels that are added after each step: (1, C / 4, 2h, 2w), (1, C / 8, 4h, 4w); or
            none. All prompts share them, so that they go with what is constant.
        """
        layers: Any = upscaling  # a list of modules to the type checker
        first, norm, _, second, _ = layers
        dtype = layout.dtype
        matrix = torch.cat(_halves(first))
        tokens = layout.used(base.tokens.T.contiguous()).T
        up, down = (half.to(dtype) for half in _halves(second))
        constant = linear(base.constant, matrix, first.bias.repeat(4)).to(dtype)
        pixels: tuple[Tensor, ...] = ()
        if finer:
            constant = constant + layout.of_quarters(finer[0][0])
            pixels = layout.of_halves(finer[1][0])
        return FastUpscaling(
            quarters=linear(tokens, matrix).to(dtype),
            matrix=matrix,
            constant=constant,
            norm_weight=norm.weight.to(dtype),
            norm_bias=norm.bias.to(dtype),
            norm_eps=norm.eps,
            sixteenths=(up, down),
            sixteenths_bias=second.bias.repeat(2).to(dtype),
            pixels=pixels,
            layout=layout,
        )

    def draw(self, image: Factors, kernels: Tensor) -> Tensor:
        """As `Drawing`. kernels (N, M, C / 8)"""
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
        for pixels in self._pixels(quarters):
            logits = matmuls(kernels, pixels.view(kernels.shape[0], -1, kernels.shape[2]).mT)
            yield logits.view(*kernels.shape[:2], *self.layout.used_hw, 2, 2, 2).transpose(3, 4)

    def _pixels(self, quarters: Tensor) -> Iterator[Tensor]:
        """The upper and the lower row of each quarter: two of (N, 4 * U, C / 4), of two pixels."""
        for i, half in enumerate(self.sixteenths):
            added = self.pixels[i] if self.pixels else None
            yield _activated(quarters, half, self.sixteenths_bias, added)

    def upscaled(self, image: Factors) -> Tensor:
        """The image's pixels in their place, of the cells that are used: (N, 4 h, 4 w, C / 8)."""
        height, width = self.layout.used_hw
        rows = [
            half.view(half.shape[0], height, width, 2, 2, -1).transpose(2, 3)
            for half in self._pixels(self._quarters(image))
        ]
        # each of (N, rows, upper or lower quarter, columns, left or right one, its two pixels)
        count, channels = rows[0].shape[0], rows[0].shape[-1] // 2
        return torch.stack(rows, dim=3).view(count, 4 * height, 4 * width, channels)

    def coarse(self, image: Factors, kernels: Tensor) -> Tensor:
        """The logits of N prompts' M masks at one pixel of each cell: the second, both ways, of 4.

        kernels (N, M, C / 8) -> (N, M, U), for a tenth of the work
        """
        pixels = _activated(self._first_quarter._quarters(image), *self._second_pixel)
        return matmuls(kernels.to(pixels.dtype), pixels.mT).to(kernels.dtype)

    @cached_property
    def _first_quarter(self) -> FastUpscaling:
        """The same, of the upper left quarter of each cell alone."""
        count = len(self.norm_weight)
        return replace(
            self,
            quarters=self.quarters[:, :count].contiguous(),
            matrix=self.matrix[:count],
            constant=self.constant[..., :count].contiguous(),
        )

    @cached_property
    def _second_pixel(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """From that quarter to its lower right pixel: matrix, bias, and what is added to it."""
        lower = self.sixteenths[1]
        count = len(lower) // 2
        added = None
        if self.pixels:
            added = self.pixels[1].view(-1, 4, 2 * count)[:, 0, count:].contiguous()
        return lower[count:], self.sixteenths_bias[count:], added

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


def _activated(x: Tensor, matrix: Tensor, bias: Tensor, added: Tensor | None) -> Tensor:
    """The GELU of a linear layer's output, and of what a finer level adds to that, if one does."""
    y = linear(x, matrix, bias, gelu=added is None)
    if added is not None:
        y = torch.ops.aten.gelu_(y.add_(added))
    return y


def _halves(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A 2 x 2 transposed convolution of stride 2: the matrices to the upper and lower pixels.

    -> two of (2 * C_out, C_in), the left pixel's channels before the right one's.
    """
    upper, lower = convolution.weight.permute(2, 3, 1, 0).flatten(1, 2)
    return upper, lower
