"""Prompts by hand: the masks of given points or boxes, on an image that is encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.frame import Frame
from amg_cli.core.timings import timed
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Embedding, Sam

PROMPTS_AT_A_TIME = 4


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


@torch.inference_mode()
def encode_image(model: Sam, image_rgb: NDArray[np.uint8]) -> Encoded:
    """Scale, pad and encode an image, or a crop of one. image_rgb: (H, W, 3) uint8."""
    config = model.config
    multiple = 0 if config.fixed_input_size else config.stride
    height, width = image_rgb.shape[:2]
    frame = Frame.fit((height, width), config.input_size, multiple)
    with timed("resize"):
        pixels = frame.model_input(image_rgb, config.mean, config.std)
    with timed("encode"):
        embedding = model.encode(pixels.to(model.device))
        return Encoded(frame, model.prepare(embedding, frame.resized_hw))


def predict_points(
    model: Sam, encoded: Encoded, points_xy: NDArray[np.float64]
) -> Iterator[Prediction]:
    """Three masks for each point (N, 2), in pixels of the image; a few prompts at a time."""
    points = encoded.frame.to_input_xy(points_xy)[:, None]
    for part in torch.split(points, PROMPTS_AT_A_TIME):
        labels = torch.full((len(part), 1), FOREGROUND, device=model.device)
        yield _predict(model, encoded, Prompts(part.to(model.device), labels))


def predict_boxes(
    model: Sam, encoded: Encoded, boxes_xyxy: NDArray[np.float64]
) -> Iterator[Prediction]:
    """Three masks for each box (N, 4), in pixels of the image; a few prompts at a time."""
    corners = encoded.frame.to_input_xy(boxes_xyxy.reshape(-1, 2, 2)).flatten(1)
    for part in torch.split(corners, PROMPTS_AT_A_TIME):
        yield _predict(model, encoded, Prompts(boxes_xyxy=part.to(model.device)))


@torch.inference_mode()
def _predict(model: Sam, encoded: Encoded, prompts: Prompts) -> Prediction:
    decoded = model.decode(encoded.embedding, prompts)
    low_res = decoded.logits()
    masks = encoded.frame.to_image_logits(low_res) > model.config.mask_threshold
    by_prompt = masks.view(*decoded.scores.shape, *masks.shape[1:])
    return Prediction(by_prompt.cpu(), decoded.scores.cpu())
