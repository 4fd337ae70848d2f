"""Prompts by hand: the masks of given points, boxes and masks, on an image that is encoded once.

Shape letters: N prompts, K masks each; H W the image, H' W' a mask at low resolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.frame import Frame
from amg_cli.core.host import in_own_precision
from amg_cli.core.image import ImageLike, as_pixels
from amg_cli.core.timings import timed
from amg_cli.generation.arguments import check_model
from amg_cli.generation.drawing import draw_masks
from amg_cli.generation.prompts import Prompts
from amg_cli.models.devices import is_cpu
from amg_cli.models.kinds import Embedding
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from amg_cli.models.sam import Sam

PROMPTS_AT_A_TIME = 16
MASKS_A_PROMPT = 3
PIXELS_RETURNED = 2**28  # of the masks of one of several predictions: 0.27 GB
PIXELS_AT_A_TIME = 2**24  # of the logits behind them, in float32: 67 MB


@dataclass(frozen=True)
class Encoded:
    """An image that the model has encoded, and how it lies in the model's input."""

    frame: Frame
    embedding: Embedding

    @property
    def mask_hw(self) -> tuple[int, int]:
        """H' and W': the size of masks at low resolution, of which four make a cell's side."""
        height, width = self.embedding.cells_hw
        return 4 * height, 4 * width


@dataclass(frozen=True, eq=False)
class Prediction:
    """The masks of N prompts, K each, in the model's order.

    masks:   (N, K, H, W) bool, of the image's size; float32 logits where these are asked for
    scores:  (N, K) float32, the model's estimate of each mask's IoU with the object
    low_res: (N, K, H', W') float32 logits of the whole input, padding included, which can be given
        as the next prompt's masks; SAM 2's are cut to plus and minus 32 for that
    """

    masks: NDArray[Any]
    scores: NDArray[np.float32]
    low_res: NDArray[np.float32]

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the masks of the first prompts; None where there are none."""
        from amg_cli.core.notebook import png_of_predictions

        return png_of_predictions(self.masks)


def encode_image(model: Sam, image_rgb: ImageLike, *, draw_padding: bool = True) -> Encoded:
    """Scale, pad and encode an image, for prompts by hand.

    image_rgb: (H, W, 3) uint8, as for `generate`; of a model of another number C of channels,
        (H, W, C) uint8
    draw_padding: logits at low resolution are of the padding too, as later prompts need them; else
        they may be anything under the threshold there, which takes less
    Raises TypeError or ValueError for an image or a model of another kind, shape or type.
    """
    check_model(model)
    pixels = as_pixels(image_rgb, len(model.config.mean))
    frame = model.config.frame((pixels.shape[0], pixels.shape[1]))
    with timed("resize"):
        model_input = frame.model_input(pixels, model.config.mean, model.config.std, model.device)
    return encode_input(model, model_input, frame, draw_padding)


@in_own_precision
@torch.inference_mode()
def encode_input(
    model: Sam, model_input: Tensor, frame: Frame, draw_padding: bool = True
) -> Encoded:
    """As `encode_image`, of what a frame has made of an image: normalised, padded, (1, C, H, W)."""
    with timed("encode"):
        embedding = model.encode(model_input.to(model.device))
        drawn_hw = frame.input_hw if draw_padding else frame.resized_hw
        return Encoded(frame, model.prepare(embedding, drawn_hw))


def predict(
    model: Sam,
    encoded: Encoded,
    prompts: Prompts,
    *,
    multimask: bool = True,
    return_logits: bool = False,
) -> Prediction:
    """The masks of prompts on an image that `encode_image` has encoded.

    multimask: K = 3 masks, for prompts that may mean several objects, such as one point; otherwise
        K = 1, for those that are clear, such as a box or many points. Of SAM-HQ K is always 1.
    return_logits: leave the masks as logits at the image's size, as `Prediction`

    A prompt's masks do not depend on the others. N may be 0. Raises TypeError for a model of
    another kind or type, ValueError for masks of another size than the model's.
    Source: Kirillov et al. 2023, "Segment Anything", and its published code.
    """
    parts = predictions(model, encoded, prompts, multimask, return_logits)
    first = next(parts)
    count = len(prompts)
    if len(first.scores) == count:
        return first
    columns = [np.empty((count, *x.shape[1:]), x.dtype) for x in vars(first).values()]
    done = 0
    for part in itertools.chain([first], parts):
        for column, of_part in zip(columns, vars(part).values(), strict=True):
            column[done : done + len(of_part)] = of_part
        done += len(part.scores)
    return Prediction(*columns)


def predictions(
    model: Sam,
    encoded: Encoded,
    prompts: Prompts,
    multimask: bool = True,
    return_logits: bool = False,
) -> Iterator[Prediction]:
    """As `predict`, a few prompts at a time: so few that what is held of large images is little.

    At least one prediction, which is empty for N = 0.
    """
    check_model(model, quickly=True)
    height, width = encoded.frame.image_hw
    at_a_time = PIXELS_RETURNED // (MASKS_A_PROMPT * height * width)
    at_a_time = max(1, min(PROMPTS_AT_A_TIME, at_a_time))
    for first in range(0, max(1, len(prompts)), at_a_time):
        part = prompts if len(prompts) <= at_a_time else prompts[first : first + at_a_time]
        of_input = part.in_input(encoded.frame, encoded.mask_hw, model.device)
        yield predict_in_input(model, encoded, of_input, multimask, return_logits)


@in_own_precision
@torch.inference_mode()
def predict_in_input(
    model: Sam,
    encoded: Encoded,
    prompts: InputPrompts,
    multimask: bool = True,
    return_logits: bool = False,
) -> Prediction:
    """As `predict`, of prompts in pixels of the model's input."""
    decoded = model.decode(encoded.embedding, prompts, multimask)
    low_res = decoded.logits()
    draw = _logits if return_logits else _masks
    masks = draw(encoded.frame, low_res, model.config.mask_threshold)
    shape = tuple(decoded.scores.shape)
    low_res = model.as_prompts(low_res)
    return Prediction(
        masks=masks.reshape(*shape, *masks.shape[1:]),
        scores=decoded.scores.cpu().numpy(),
        low_res=low_res.float().cpu().numpy().reshape(*shape, *low_res.shape[1:]),
    )


def _masks(frame: Frame, low_res: Tensor, threshold: float) -> NDArray[np.bool_]:
    """The masks of logits (K, H', W'), at the image's size: (K, H, W) bool."""
    masks = np.empty((len(low_res), *frame.image_hw), np.bool_)
    if is_cpu(low_res.device):
        for i, drawn in enumerate(draw_masks(frame, low_res, threshold, offset=0)):
            masks[i] = drawn.array()
        return masks
    for part, logits in _full_size(frame, low_res):
        masks[part] = (logits > threshold).cpu().numpy()
    return masks


def _logits(frame: Frame, low_res: Tensor, _threshold: float) -> NDArray[np.float32]:
    """The same, not thresholded: (K, H, W) float32."""
    masks = np.empty((len(low_res), *frame.image_hw), np.float32)
    for part, logits in _full_size(frame, low_res):
        masks[part] = logits.cpu().numpy()
    return masks


def _full_size(frame: Frame, low_res: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Logits at the image's size, of a few masks at a time, and which these are."""
    largest = max(height * width for height, width in (frame.image_hw, frame.input_hw))
    at_a_time = max(1, PIXELS_AT_A_TIME // largest)
    for first in range(0, len(low_res), at_a_time):
        part = slice(first, first + at_a_time)
        yield part, frame.to_image_logits(low_res[part])
