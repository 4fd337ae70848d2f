"""The prompt encoder: points, boxes and masks to embeddings.

Source: Kirillov et al. 2023, "Segment Anything". Parameter names are the official checkpoint's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from amg_cli.models.kinds import CellPrompts
from amg_cli.models.layers import LayerNorm2d, Tokens, draw

PADDING, BACKGROUND, FOREGROUND, FIRST_CORNER, SECOND_CORNER = range(-1, 4)  # labels of points

_SHAPES: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    "points_xy": ("(N, M1, 2)", (3,), 2),
    "labels": ("(N, M1)", (2,), None),
    "boxes_xyxy": ("(N, 4) or (N, M2, 4)", (2, 3), 4),
    "masks": ("(N, M3, H', W')", (4,), None),
    "tokens": ("(N, M4, C)", (3,), None),
}  # and the dimensions and the last one's length


@dataclass(frozen=True)
class Prompts:
    """N prompts, in pixels of the model's input. What is not given is None; of nothing N is 1.

    points_xy:  (N, M1, 2) float32
    labels:     (N, M1) int: 1 foreground, 0 background, -1 padding (its position is ignored); 2 and
                3 the first and second corner of a box, as in the official ONNX export; given with
                `points_xy` and only with them
    boxes_xyxy: (N, 4) float32, or (N, M2, 4) for several; the same as two corners each after the
                points, but for the padding point that the model adds where there is none
    masks:      (N, M3, 4h, 4w) float32 logits, such as an earlier answer's; the embeddings of
                several are added up
    tokens:     (N, M4, C) float32, embeddings of your own, such as a text's, of the model's C; they
                come after the points and boxes, whose padding point does not depend on them
    Published code has M2 and M3 of 0 or 1. M1, M2, M3 or M4 of 0 is as if nothing were given.
    Raises ValueError for parts of another shape, or that do not fit each other; TypeError for masks
    or tokens that are no floats; ValueError for labels of another number where
    they are on the CPU; on a device, which nothing waits for, those count as background.
    """

    points_xy: Tensor | None = None
    labels: Tensor | None = None
    boxes_xyxy: Tensor | None = None
    masks: Tensor | None = None
    tokens: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points_xy is None) != (self.labels is None):
            raise ValueError("points_xy and labels: one is given without the other")
        for name, (shape, dimensions, last) in _SHAPES.items():
            values = getattr(self, name)
            wrong = values is not None and (
                values.ndim not in dimensions or last not in (None, values.shape[-1])
            )
            if wrong:
                raise ValueError(f"{name}: {shape} is wanted, not {tuple(values.shape)}")
        points, labels = self.points_xy, self.labels
        if points is not None and labels is not None and labels.shape != points.shape[:2]:
            wanted, found = tuple(points.shape[:2]), tuple(labels.shape)
            raise ValueError(f"labels: {wanted} is wanted, not {found}")
        if self.masks is not None and not self.masks.is_floating_point():
            raise TypeError(f"masks: float logits are wanted, not {self.masks.dtype}")
        if self.tokens is not None and not self.tokens.is_floating_point():
            raise TypeError(f"tokens: float embeddings are wanted, not {self.tokens.dtype}")
        if len({len(x) for x in self._given()}) > 1:
            raise ValueError("points, boxes, masks and tokens: give the same number of each")
        if self.labels is not None and self.labels.device.type == "cpu":
            _check_labels(self.labels)

    def __len__(self) -> int:
        return next((len(x) for x in self._given()), 1)

    def _given(self) -> list[Tensor]:
        every = (self.points_xy, self.boxes_xyxy, self.masks, self.tokens)
        return [x for x in every if x is not None]


def _check_labels(labels: Tensor) -> None:
    strange = (labels < PADDING) | (labels > SECOND_CORNER) | (labels != labels.long())
    if strange.any():
        meaning = "1 foreground, 0 background, -1 padding, 2 and 3 a box's corners"
        raise ValueError(f"labels: {meaning}; not {labels[strange][0].item()}")


class FourierFeatures(nn.Module):
    """Sines and cosines of random projections of a position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        name, shape = "positional_encoding_gaussian_matrix", (2, channels // 2)
        self.register_buffer(name, torch.empty(shape, dtype=torch.float32))
        draw(self.get_buffer(name))

    def forward(self, unit_xy: Tensor) -> Tensor:
        """(…, 2) in [0, 1] -> (…, C)."""
        matrix = self.get_buffer("positional_encoding_gaussian_matrix")
        angle = 2 * math.pi * ((2 * unit_xy - 1) @ matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts to token and per-cell embeddings of `embed_dim` channels.

    pad_points, pad_boxes: as of `SamConfig`
    """

    def __init__(
        self, embed_dim: int, mask_hidden_dim: int, pad_points: bool, pad_boxes: bool = False
    ) -> None:
        super().__init__()
        self.pad_points, self.pad_boxes = pad_points, pad_boxes
        self.pe_layer = FourierFeatures(embed_dim)
        # By label: 0 background, 1 foreground, then a box's first and second corner.
        self.point_embeddings = nn.ModuleList(Tokens(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = Tokens(1, embed_dim)
        self.no_mask_embed = Tokens(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_hidden_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_hidden_dim // 4),
            nn.GELU(),
            nn.Conv2d(mask_hidden_dim // 4, mask_hidden_dim, kernel_size=2, stride=2),
            LayerNorm2d(mask_hidden_dim),
            nn.GELU(),
            nn.Conv2d(mask_hidden_dim, embed_dim, kernel_size=1),
        )

    def forward(
        self, prompts: Prompts, input_hw: tuple[int, int]
    ) -> tuple[Tensor, CellPrompts | None]:
        """Token embeddings (N, T, C), and what is added to the cells if there are masks, or None.

        T is 0 for masks alone. `input_hw` is the padded input's size in pixels. Raises ValueError
        for tokens of another number of channels.
        """
        channels = self.no_mask_embed.weight.shape[1]
        none = (len(prompts), 0, channels)
        tokens = [torch.zeros(none, dtype=torch.float32, device=self.device)]
        points, labels, boxes, masks, own = (
            x if x is not None and x.shape[1] else None
            for x in (
                prompts.points_xy,
                prompts.labels,
                prompts.boxes_xyxy,
                prompts.masks,
                prompts.tokens,
            )
        )
        if points is not None and labels is not None:
            tokens.append(self.embed_points(points, labels, input_hw))
        # The published models were trained with a padding point wherever no box is; SAM 2, to which
        # a box is two points, with one wherever any are.
        padded = self.pad_points if boxes is None else self.pad_boxes
        if padded and not (points is None and boxes is None):
            tokens.append(self.not_a_point_embed.weight.expand(len(prompts), 1, -1))
        if boxes is not None:
            boxes = boxes[:, None] if boxes.ndim == 2 else boxes
            corners = boxes.reshape(len(boxes), 2 * boxes.shape[1], 2)
            _, _, first, second = self._kinds()
            kinds = torch.cat([first, second]).repeat(corners.shape[1] // 2, 1)
            tokens.append(self._positions(corners, input_hw) + kinds)
        if own is not None:
            if own.shape[2] != channels:
                raise ValueError(f"tokens: (N, M4, {channels}) is wanted, not {tuple(own.shape)}")
            tokens.append(own.float())
        return torch.cat(tokens, dim=1), None if masks is None else self.embed_masks(masks)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.no_mask_embed.weight.device

    @property
    def no_mask(self) -> Tensor:
        """What every cell gets where there is no mask. (1, C, 1, 1)"""
        return self.no_mask_embed.weight[..., None, None]

    def cell_positions(self, cells_hw: tuple[int, int]) -> Tensor:
        """The encoding of each embedding cell's centre. -> (1, C, h, w)."""
        height, width = cells_hw
        y, x = (
            (torch.arange(side, dtype=torch.float32, device=self.device) + 0.5) / side
            for side in cells_hw
        )
        grid_xy = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        return self.pe_layer(grid_xy).permute(2, 0, 1)[None]

    def embed_masks(self, masks: Tensor) -> CellPrompts:
        """Of masks (N, M3, 4h, 4w), of which several are added up before the projection."""
        *layers, last = self.mask_downscaling
        projection = cast("nn.Conv2d", last)
        count, of_each = masks.shape[:2]
        channels = masks.float().flatten(0, 1)[:, None]
        for layer in layers:
            channels = layer(channels)
        channels = channels.view(count, of_each, *channels.shape[1:]).sum(dim=1)
        nb_masks = torch.full_like(channels[:, :1], of_each)
        bias = cast("Tensor", projection.bias)
        weight = torch.cat([projection.weight.flatten(1).T, bias[None]])
        return CellPrompts(torch.cat([channels, nb_masks], dim=1), weight)

    def _kinds(self) -> list[Tensor]:
        """What is added to a point of each kind, four of (1, C)."""
        return [embedding.get_parameter("weight") for embedding in self.point_embeddings]

    def _positions(self, points_xy: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """Encode pixels by their centres. (N, P, 2) -> (N, P, C)."""
        height, width = input_hw
        x, y = (points_xy + 0.5).unbind(dim=-1)
        return self.pe_layer(torch.stack([x / width, y / height], dim=-1))

    def embed_points(self, points_xy: Tensor, labels: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """Position and label of each point. (N, P, 2), (N, P) -> (N, P, C)."""
        kind, *others = self._kinds()
        is_padding = (labels == PADDING)[..., None]
        for label, other in zip((FOREGROUND, FIRST_CORNER, SECOND_CORNER), others, strict=True):
            kind = torch.where((labels == label)[..., None], other, kind)
        located = self._positions(points_xy, input_hw) + kind
        return torch.where(is_padding, self.not_a_point_embed.weight, located)
