"""From an image in factors to the logits of SAM-HQ's masks: the same numbers by less work.

`hq_two_way` defines what is computed. Its features are two convolutions of 3 by 3 pixels, and a
mask weighs their channels by a kernel. The second convolution and the kernel are one linear map, to
one channel, not to C / 8 and then to one: nine products of what it sees, shifted and added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.fast.factors import Factors
from amg_cli.models.fast.upscaling import UNDRAWN, FastUpscaling, Layout
from amg_cli.models.products import matmuls


def grown(layout: Layout) -> Layout:
    """With a cell more that is drawn, where there is one, in each axis.

    The convolutions see two pixels beyond each, of the four of a cell. Those of the last cell lack
    some, and nobody asks for them.
    """
    pairs = zip(layout.cells_hw, layout.used_hw, strict=True)
    height, width = (min(cells, used + 1) for cells, used in pairs)
    return replace(layout, used_hw=(height, width))


@dataclass(frozen=True)
class HqUpscaling:
    """The upscaling of one image's masks.

    pixels: of SAM's pixels, C / 8 channels
    features: (C / 8, P), what all prompts share of the P pixels that are drawn
    first, first_bias: of the first convolution, in channels last, (C / 4, C / 8, 3, 3)
    norm_weight, norm_bias, norm_eps: of the layer norm of its channels
    second: (C / 8, 9 * C / 4), of the second convolution, by the pixel that it sees; second_bias:
        (C / 8,)
    """

    pixels: FastUpscaling
    features: Tensor
    first: Tensor
    first_bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    norm_eps: float
    second: Tensor
    second_bias: Tensor

    @property
    def layout(self) -> Layout:
        """As `Drawing`."""
        return self.pixels.layout

    @staticmethod
    def of(pixels: FastUpscaling, maskfeature: nn.Sequential, features: Tensor) -> HqUpscaling:
        """Of the decoder's `embedding_maskfeature`, and features (1, C / 8, 4h, 4w)."""
        layers: Any = maskfeature  # a list of modules to the type checker
        first, norm, _, second = layers
        dtype = pixels.layout.dtype
        height, width = (4 * side for side in pixels.layout.used_hw)
        return HqUpscaling(
            pixels=pixels,
            features=features[0, :, :height, :width].flatten(1).to(dtype),
            first=first.weight.to(dtype).contiguous(memory_format=torch.channels_last),
            first_bias=first.bias.to(dtype),
            norm_weight=norm.weight.to(dtype),
            norm_bias=norm.bias.to(dtype),
            norm_eps=norm.eps,
            second=second.weight.permute(0, 2, 3, 1).flatten(1),
            second_bias=second.bias,
        )

    def draw(self, image: Factors, kernels: Tensor) -> Tensor:
        """As `Drawing`. kernels (N, M, 2 * C / 8), of SAM's pixels and of the features."""
        (height, width), (used_height, used_width) = self.layout.cells_hw, self.layout.used_hw
        of_sam, of_features = kernels.chunk(2, dim=2)
        dtype = self.layout.dtype
        pixels = self.pixels.upscaled(image)
        logits = matmuls(of_sam.to(dtype), pixels.flatten(1, 2).mT)
        logits = logits + of_features.to(dtype) @ self.features
        logits = logits + (of_features @ self.second_bias)[..., None]
        logits = logits.view(*kernels.shape[:2], 4 * used_height, 4 * used_width)
        logits = logits + self._corrections(pixels, of_features)
        if (used_height, used_width) == (height, width):
            return logits.to(kernels.dtype)
        drawn = kernels.new_full((*kernels.shape[:2], 4 * height, 4 * width), UNDRAWN)
        drawn[:, :, : 4 * used_height, : 4 * used_width] = logits
        return drawn

    def _corrections(self, pixels: Tensor, kernels: Tensor) -> Tensor:
        """The convolutions of pixels (N, h, w, C / 8), weighed by (N, M, C / 8): (N, M, h, w)."""
        hidden = F.conv2d(pixels.permute(0, 3, 1, 2), self.first, self.first_bias, padding=1)
        hidden = hidden.permute(0, 2, 3, 1)
        shape = self.norm_weight.shape
        normed = F.layer_norm(hidden, shape, self.norm_weight, self.norm_bias, self.norm_eps)
        seen = torch.ops.aten.gelu_(normed).flatten(1, 2)
        count, nb_masks = kernels.shape[:2]
        taps = (kernels @ self.second).view(count, nb_masks * 9, -1)
        products = matmuls(taps.to(seen.dtype), seen.mT)
        products = products.view(count, nb_masks, 3, 3, *pixels.shape[1:3])
        return _shifted_and_added(products)


def _shifted_and_added(products: Tensor) -> Tensor:
    """What a convolution of 3 by 3 is of its nine products. (N, M, 3, 3, h, w) -> (N, M, h, w).

    Beyond the edge there is nothing.
    """
    height, width = products.shape[4:]
    sum_ = products[:, :, 1, 1].clone()
    for row in range(3):
        to_rows, of_rows = _overlap(row - 1, height)
        for column in range(3):
            if (row, column) == (1, 1):
                continue
            to_columns, of_columns = _overlap(column - 1, width)
            sum_[:, :, to_rows, to_columns] += products[:, :, row, column, of_rows, of_columns]
    return sum_


def _overlap(step: int, size: int) -> tuple[slice, slice]:
    """Of an axis, the places whose neighbour a step on is there; and those neighbours."""
    return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size + min(0, step))
