"""Prompts by hand: the masks of given points or boxes, on an image that is encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.frame import Frame
from amg_cli.core.host import without_autocast
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.timings import timed
from amg_cli.generation.arguments import check_model
from amg_cli.models.kinds import Embedding
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam

PROMPTS_AT_A_TIME, MASKS_A_PROMPT = 4, 3
PIXELS_RETURNED = 2**28  # of the masks of one prediction: 0.27 GB
PIXELS_AT_A_TIME = 2**24  # of the logits behind them, in float32: 67 MB


@dataclass(frozen=True)
class Encoded:
    """An image that the model has encoded, and how it lies in the model's input."""

    frame: Frame
    embedding: Embedding


@dataclass(frozen=True)
class Prediction:
    """The masks of N prompts, M each, in the model's order; on the CPU.

    masks (N, M, H, W) bool, of the image's size; pred_iou (N, M) float32
    """

    masks: Tensor
    pred_iou: Tensor


@without_autocast
@torch.inference_mode()
def encode_image(model: Sam, image_rgb: ImageLike) -> Encoded:
    """Scale, pad and encode an image, or a crop of one. image_rgb: (H, W, 3) uint8, as `generate`.

    Raises TypeError or ValueError for an image or a model of another kind, shape or type.
    """
    check_model(model)
    pixels_rgb = as_rgb(image_rgb)
    config = model.config
    frame = config.frame((pixels_rgb.shape[0], pixels_rgb.shape[1]))
    with timed("resize"):
        pixels = frame.model_input(pixels_rgb, config.mean, config.std)
    with timed("encode"):
        embedding = model.encode(pixels.to(model.device))
        return Encoded(frame, model.prepare(embedding, frame.resized_hw))


def predict_points(
    model: Sam, encoded: Encoded, points_xy: NDArray[np.float64]
) -> Iterator[Prediction]:
    """Three masks for each point (N, 2), in pixels of the image; a few prompts at a time.

    So few that their masks have at most `PIXELS_RETURNED` or are one prompt's. None for N = 0.
    Raises TypeError for a model of another kind or type, ValueError for points of another shape.
    """
    points = encoded.frame.to_input_xy(_rows("points_xy", points_xy, 2))[:, None]
    for part in _parts(model, encoded, points):
        shape = (len(part), 1)
        labels = torch.full(shape, FOREGROUND, dtype=torch.int64, device=model.device)
        yield _predict(model, encoded, Prompts(part, labels))


def predict_boxes(
    model: Sam, encoded: Encoded, boxes_xyxy: NDArray[np.float64]
) -> Iterator[Prediction]:
    """Three masks for each box (N, 4), in pixels of the image; otherwise as `predict_points`."""
    corners = _rows("boxes_xyxy", boxes_xyxy, 4).reshape(-1, 2, 2)
    for part in _parts(model, encoded, encoded.frame.to_input_xy(corners).flatten(1)):
        yield _predict(model, encoded, Prompts(boxes_xyxy=part))


def _rows(name: str, values: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Prompts as (N, columns) float64; N is 0 for an empty list too."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0:
        return rows.reshape(0, columns)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{name}: (N, {columns}) is wanted, not {rows.shape}")
    return rows


def _parts(model: Sam, encoded: Encoded, prompts: Tensor) -> Iterator[Tensor]:
    """A few of N prompts at a time, on the model's device; nothing of none."""
    check_model(model)
    height, width = encoded.frame.image_hw
    at_a_time = min(PROMPTS_AT_A_TIME, PIXELS_RETURNED // (MASKS_A_PROMPT * height * width))
    for first in range(0, len(prompts), max(1, at_a_time)):
        yield prompts[first : first + max(1, at_a_time)].to(model.device)


@without_autocast
@torch.inference_mode()
def _predict(model: Sam, encoded: Encoded, prompts: Prompts) -> Prediction:
    decoded = model.decode(encoded.embedding, prompts)
    masks = _draw(encoded.frame, decoded.logits(), model.config.mask_threshold)
    return Prediction(masks.view(*decoded.scores.shape, *masks.shape[1:]), decoded.scores.cpu())


def _draw(frame: Frame, low_res: Tensor, threshold: float) -> Tensor:
    """The masks of logits (K, h, w), at the image's size: (K, H, W) bool, on the CPU."""
    masks = torch.empty((len(low_res), *frame.image_hw), dtype=torch.bool, device="cpu")
    largest = max(height * width for height, width in (frame.image_hw, frame.input_hw))
    at_a_time = max(1, PIXELS_AT_A_TIME // largest)
    for first in range(0, len(masks), at_a_time):
        part = slice(first, first + at_a_time)
        masks[part] = frame.to_image_logits(low_res[part]) > threshold
    return masks
