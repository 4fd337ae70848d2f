"""`SamPredictor`, over `predict`: it holds one encoded image, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.frame import normalised
from amg_cli.generation.predict import encode_image, encode_input, predict_in_input
from amg_cli.generation.predictor import OneImage
from amg_cli.generation.prompts import Prompts
from amg_cli.models.hq_token import with_hq_token_only
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from amg_cli.models.sam import Sam
from amg_cli.segment_anything.transform import ResizeLongestSide, ResizeToSquare


class SamPredictor(OneImage):
    """Prompts by hand on one image. Source: segment-anything 1.0, whose results these are.

    And segment-anything-hq 0.3, whose predictor has `hq_token_only`: masks of the HQ token alone.
    """

    def __init__(self, sam_model: Sam) -> None:
        super().__init__(sam_model)
        config = sam_model.config
        scaling = ResizeToSquare if config.stretched else ResizeLongestSide
        self.transform = scaling(max(config.input_size))

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode an image for prompts. image: (H, W, 3) uint8; image_format: RGB or BGR.

        Errors as of `encode_image`, and ValueError for another format.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format: RGB or BGR is wanted, not {image_format}")
        self.reset_image()
        rgb = image[..., ::-1] if image_format == "BGR" else image
        self._encoded = encode_image(self.model, rgb)

    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, int]
    ) -> None:
        """Encode an image that `transform` has scaled.

        transformed_image: (1, C, h, w), in 0-255 units, its longest side the model's
        original_image_size: (H, W) before

        Raises ValueError for another shape.
        """
        config, wanted = self.model.config, self.transform.target_length
        shape = tuple(transformed_image.shape)
        channels = len(config.mean)
        sides = (min if config.stretched else max)(shape[2:], default=0)
        if len(shape) != 4 or shape[:2] != (1, channels) or sides != wanted:
            which = "both sides" if config.stretched else "a longest side"
            form = f"(1, {channels}, h, w) with {which} of {wanted}"
            raise ValueError(f"transformed_image: {form} is wanted, not {shape}")
        self.reset_image()
        height, width = original_image_size[:2]
        frame = replace(config.frame((shape[2], shape[3])), image_hw=(height, width))
        pixels = frame.pad(normalised(transformed_image, config.mean, config.std))
        self._encoded = encode_input(self.model, pixels, frame)

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[np.float32] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        hq_token_only: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """The masks of one prompt, in pixels of the image.

        point_coords: (P, 2), x and y; point_labels: (P,), 1 foreground, 0 background
        box: (4,), XYXY; mask_input: (1, H', W') logits, such as an earlier answer's
        -> masks (K, H, W) bool, or logits; scores (K,); logits at low resolution (K, H', W')

        Raises RuntimeError where no image is set, TypeError or ValueError as of `Prompts`; errors
        of hq_token_only as of `with_hq_token_only`.
        """
        if (point_coords is None) != (point_labels is None):
            raise ValueError("point_coords and point_labels: one is given without the other")
        if box is not None and np.size(box) != 4:
            raise ValueError(f"box: (4,) is wanted, not {np.shape(box)}; several: predict_torch")
        prompts = Prompts(
            points_xy=None if point_coords is None else np.asarray(point_coords)[None],
            labels=None if point_labels is None else np.asarray(point_labels)[None],
            boxes_xyxy=None if box is None else np.reshape(box, (1, 4)),
            masks=None if mask_input is None else np.asarray(mask_input)[None],
        )
        model = self._asked(hq_token_only)
        found = self._predict(prompts, multimask_output, return_logits, model)
        return found.masks[0], found.scores[0], found.low_res[0]

    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        hq_token_only: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The masks of N prompts, in pixels of the model's input, as `transform` makes them.

        point_coords (N, P, 2); point_labels (N, P); boxes (N, 4); mask_input (N, 1, H', W')
        -> as `predict`, with N before, on the model's device

        Raises RuntimeError where no image is set, ValueError for parts that do not fit each other;
        errors of hq_token_only as of `with_hq_token_only`.
        """
        image, device = self._image(), self.model.device
        given = (point_coords, point_labels, boxes, mask_input)
        points, labels, boxes, masks = (None if x is None else x.to(device) for x in given)
        prompts = InputPrompts(
            None if points is None else points.float(),
            labels,
            None if boxes is None else boxes.float(),
            masks,
        )
        model = self._asked(hq_token_only)
        found = predict_in_input(model, image, prompts, multimask_output, return_logits)
        masks, scores, low_res = (torch.from_numpy(x).to(device) for x in vars(found).values())
        return masks, scores, low_res

    def _asked(self, hq_token_only: bool) -> Sam:
        """What answers."""
        return with_hq_token_only(self.model) if hq_token_only else self.model

    def get_image_embedding(self) -> Tensor:
        """(1, C, H'', W''). Raises RuntimeError where no image is set."""
        return self._image().embedding.features

    def reset_image(self) -> None:
        """Forget the image."""
        self._encoded = None

    @property
    def is_image_set(self) -> bool:
        """Whether there is an image to prompt on."""
        return self._encoded is not None

    @property
    def features(self) -> Tensor | None:
        """The image's embedding, (1, C, H'', W''); None without an image."""
        return None if self._encoded is None else self._encoded.embedding.features

    @property
    def original_size(self) -> tuple[int, int] | None:
        """(H, W) of the image; None without one."""
        return None if self._encoded is None else self._encoded.frame.image_hw

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(h, w) of the scaled image, without padding; None without one."""
        return None if self._encoded is None else self._encoded.frame.resized_hw

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device
