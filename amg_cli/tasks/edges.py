"""Edges without having learnt any: where the masks of a grid of points end.

Source of the recipe: Kirillov et al. 2023, "Segment Anything", section 7.2 and its appendix.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.frame import Frame
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.presets import EDGE_RECIPE
from amg_cli.generation.arguments import check_arguments
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.propose import propose_with_logits
from amg_cli.generation.select import without_duplicates
from amg_cli.generation.views import View, views
from amg_cli.models.sam import Sam

MARGIN_PX = 2  # of a mask's box: its outer boundary lies in it, and all that Sobel looks at there
STRIP_PX = 2**21  # pixels of a mask whose gradients are held at a time: some 60 MB
TILE_PX = 2048  # a side of what is thinned at a time
TILE_MARGIN_PX = 8  # by which all that thinning looks at is in a tile
NEIGHBOURS = np.ones((3, 3), np.uint8)
LEAST_BEND = 0.01  # of a ridge, in shares of its height: a line a pixel wide has .3 when smoothed
SIGMA_PX = 1.0  # of the smoothing by which an edge's direction is found
TIE = 1.01  # how much stronger a neighbour must be to thin a pixel away: rounding breaks ties

Window = tuple[slice, slice]


def edges(
    image_rgb: ImageLike,
    model: Sam,
    config: GenerationConfig | None = None,
    *,
    thin: bool = True,
) -> NDArray[np.float32]:
    """How much of an edge each pixel is, in [0, 1]; of a photograph the strongest is 1. -> (H, W)

    Of each mask that is no duplicate, the Sobel gradient of its probabilities along its outer
    boundary; of all masks the largest, scaled so that the strongest is 1.

    image_rgb: (H, W, 3) uint8, as for `generate`
    config: of the grid, the crops, thresholds and duplicates, other settings changing nothing; None
        for the recipe's
    thin: leave of each edge the ridge alone
    Errors as of `generate`.
    """
    config = GenerationConfig(**EDGE_RECIPE) if config is None else config
    check_arguments(image_rgb, model, config)
    pixels = as_rgb(image_rgb)
    strength = np.zeros(pixels.shape[:2], np.float32)
    for window, edge in _edges_of_masks(model, pixels, config):
        np.maximum(strength[window], edge, out=strength[window])
    strength /= max(float(strength.max()), np.finfo(np.float32).tiny)
    return thinned(strength) if thin else strength


def thinned(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ridges of an edge map, (H, W): 0 where a neighbour across the edge is stronger.

    Across is where the smoothed map is bent most; where it is not bent, on a slope, is no ridge.
    Source: Canny, "A Computational Approach to Edge Detection", PAMI 1986.
    """
    height, width = strength.shape
    thin = np.zeros_like(strength)
    for y, x in itertools.product(range(0, height, TILE_PX), range(0, width, TILE_PX)):
        top, left = max(0, y - TILE_MARGIN_PX), max(0, x - TILE_MARGIN_PX)
        beyond = TILE_PX + TILE_MARGIN_PX
        ridges = _ridges(strength[top : y + beyond, left : x + beyond])
        tile = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        thin[tile] = ridges[y - top :, x - left :][:TILE_PX, :TILE_PX]
    thin *= strength
    return thin


def _ridges(strength: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a pixel is of a ridge. (H, W), so small that OpenCV's maps have room for it."""
    smooth = cv2.GaussianBlur(strength, (0, 0), SIGMA_PX)
    xx, yy, xy = (
        cv2.Sobel(smooth, cv2.CV_32F, *order, scale=0.25) for order in ((2, 0), (0, 2), (1, 1))
    )
    bend = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    across = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    y, x = np.indices(strength.shape, dtype=np.float32)
    dx, dy = np.cos(across), np.sin(across)
    beside = [cv2.remap(smooth, x + side * dx, y + side * dy, cv2.INTER_LINEAR) for side in (-1, 1)]
    return (TIE * smooth >= np.maximum(*beside)) & (bend < -LEAST_BEND * smooth)


@dataclass(frozen=True)
class _Drawn:
    """The masks of one view that are no duplicates there. K of them.

    low_res: (K, h, w), their logits; rows, columns: (H, h), (W, w), from those to pixels
    top_left: the view's first pixel in the image, row and column
    """

    candidates: Candidates
    low_res: Tensor
    rows: Tensor
    columns: Tensor
    top_left: tuple[int, int]

    @staticmethod
    def of(model: Sam, pixels: NDArray[np.uint8], view: View, config: GenerationConfig) -> _Drawn:
        """Those that the model finds."""
        encoded = EncodedView.of(model, pixels, view, use_m2m=config.use_m2m)
        candidates, low_res = propose_with_logits(model, encoded, config)
        kept = without_duplicates(candidates, config)
        axes = _axes(encoded.frame, low_res)
        return _Drawn(candidates[kept], low_res[kept], *axes, encoded.top_left)

    def edge(
        self, low_res: Tensor, box_xyxy: Sequence[int], threshold: float
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Of a mask with that box in the image, in strips: each, and where in the image it lies."""
        top, left = self.top_left
        x0, y0, x1, y1 = (at - start for at, start in zip(box_xyxy, (left, top) * 2, strict=True))
        columns = self.columns[max(0, x0 - MARGIN_PX) : x1 + MARGIN_PX + 1]
        first_x = left + max(0, x0 - MARGIN_PX)
        across = slice(first_x, first_x + len(columns))
        last_y = min(len(self.rows), y1 + 2)
        at_a_time = max(1, STRIP_PX // len(columns))
        for y in range(max(0, y0 - 1), last_y, at_a_time):
            ends = min(y + at_a_time, last_y)
            above = min(y, 1)  # a row more on both sides, for Sobel and for the mask's neighbours
            logits = self.rows[y - above : ends + 1] @ low_res @ columns.T
            strip = _edge(logits, threshold)[above : above + ends - y]
            yield (slice(top + y, top + ends), across), strip


def _edges_of_masks(
    model: Sam, pixels: NDArray[np.uint8], config: GenerationConfig
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """The edge of each mask that is kept, strip by strip, and the part of the image that it is."""
    looks = views((pixels.shape[0], pixels.shape[1]), config)
    drawn = [_Drawn.of(model, pixels, view, config) for view in looks]
    every = replace(Candidates.empty(), nb_views=len(looks))
    every = Candidates.concat([every, *(of_view.candidates for of_view in drawn)])
    kept = set(without_duplicates(every, config).tolist())
    number = itertools.count()
    for of_view in drawn:
        for box, low_res in zip(
            of_view.candidates.boxes_xyxy.tolist(), of_view.low_res, strict=True
        ):
            if next(number) in kept:
                yield from of_view.edge(low_res, box, model.config.mask_threshold)


def _edge(logits: Tensor, threshold: float) -> NDArray[np.float32]:
    """The gradient of a mask's probabilities, but for what is not its outer boundary. (h, w)"""
    inside = (logits > threshold).numpy().astype(np.uint8)
    boundary = cv2.dilate(inside, NEIGHBOURS) > inside
    probability = (logits - threshold).sigmoid().numpy()
    across, down = (cv2.Sobel(probability, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    # Not by OpenCV's magnitude, whose last bit goes by where in memory its arguments lie.
    return np.where(boundary, np.sqrt(across * across + down * down), np.float32(0))


def _axes(frame: Frame, low_res: Tensor) -> tuple[Tensor, Tensor]:
    """What `Frame.to_image_logits` does along each axis: (H, h) and (W, w).

    It is linear and each axis is apart, so that a part of the image can be had by itself.
    """
    sizes = zip(low_res.shape[1:], frame.image_hw, frame.resized_hw, frame.input_hw, strict=True)
    rows, columns = (
        Frame((image, 1), (resized, 1), (padded, 1), frame.stretched)
        .to_image_logits(torch.eye(cells, dtype=torch.float32, device="cpu")[..., None])[..., 0]
        .T
        for cells, image, resized, padded in sizes
    )
    return rows, columns
