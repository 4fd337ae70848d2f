"""A view that the model has encoded, and the points it is prompted with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.boxes import touches_crop_edge
from amg_cli.core.candidates import Candidates
from amg_cli.core.frame import Frame
from amg_cli.core.rle import Rle
from amg_cli.generation.predict import Encoded, encode_image
from amg_cli.generation.views import Crop, View
from amg_cli.models.kinds import Embedding
from amg_cli.models.sam import Sam


@dataclass(frozen=True)
class EncodedView:
    """A part of an image, ready for prompts. N counts its points.

    points_xy: (N, 2) float64, in pixels of the crop
    image_hw:  of the whole image, in pixels
    for_masks: what masks are decoded on that prompt once more; None where none do
    """

    view: View
    encoded: Encoded
    points_xy: NDArray[np.float64]
    image_hw: tuple[int, int]
    for_masks: Embedding | None = None

    @staticmethod
    @torch.inference_mode()
    def of(
        model: Sam, image_rgb: NDArray[np.uint8], view: View, use_m2m: bool = False
    ) -> EncodedView:
        """Cut and encode a view. image_rgb (H, W, 3); use_m2m: as of `GenerationConfig`.

        A mask that prompts is of the whole input, padding included; what comes of it need not be.
        """
        encoded = encode_image(model, view.crop.cut(image_rgb), draw_padding=use_m2m)
        frame, for_masks = encoded.frame, encoded.embedding if use_m2m else None
        if for_masks is not None and frame.resized_hw != frame.input_hw:
            for_masks = model.prepare(for_masks, frame.resized_hw)
        image_hw = (image_rgb.shape[0], image_rgb.shape[1])
        return EncodedView(view, encoded, view.points_xy, image_hw, for_masks)

    @property
    def crop(self) -> Crop:
        """The part of the image."""
        return self.view.crop

    @property
    def frame(self) -> Frame:
        """How the crop lies in the model's input."""
        return self.encoded.frame

    @property
    def embedding(self) -> Embedding:
        """What prompts are decoded on."""
        return self.encoded.embedding

    @property
    def top_left(self) -> tuple[int, int]:
        """Where its first pixel lies in the image."""
        x0, y0, _, _ = self.crop.box_xyxy
        return y0, x0

    def prompts(self) -> Tensor:
        """The indices of all points. -> (N,)"""
        return torch.arange(len(self.points_xy), dtype=torch.int64, device="cpu")

    def input_xy(self, prompts: Tensor | None = None) -> Tensor:
        """The points, in pixels of the model's input; those of some prompts, or all.

        prompts: (P,), their indices -> (P, 2) float32
        """
        points_xy = self.points_xy if prompts is None else self.points_xy[prompts.numpy()]
        return self.frame.to_input_xy(points_xy)

    def is_cut(self, boxes_xyxy: Tensor) -> Tensor:
        """Whether a box ends where the crop does, inside the image. (K, 4), of the crop -> (K,)."""
        height, width = self.image_hw
        crop_box, image_box = _whole(self.crop.box_xyxy), _whole((0, 0, width, height))
        return touches_crop_edge(
            self.in_image(boxes_xyxy), crop_box, image_box, self.view.margin_px
        )

    def candidates(
        self,
        rles: Sequence[Rle],
        boxes_xyxy: Tensor,
        areas_px: Tensor,
        pred_iou: Tensor,
        stability_score: Tensor,
        prompt: Tensor,
    ) -> Candidates:
        """K masks of this crop, placed in the image.

        rles: of the image's size; boxes_xyxy (K, 4) int64, in pixels of the crop
        areas_px, pred_iou, stability_score (K,); prompt (K,): the index of each mask's point
        """
        points = torch.from_numpy(self.points_xy[prompt.numpy()])
        y0, x0 = self.top_left
        return Candidates(
            rles=tuple(rles),
            boxes_xyxy=self.in_image(boxes_xyxy),
            areas_px=areas_px.to(torch.int64),
            pred_iou=pred_iou,
            stability_score=stability_score,
            points_xy=points + _whole((x0, y0)),
            crop_boxes_xyxy=_whole(self.crop.box_xyxy).expand(len(rles), 4),
        )

    def in_crop(self, boxes_xyxy: Tensor) -> Tensor:
        """Boxes of the image, in pixels of the crop. (K, 4) -> (K, 4)."""
        y0, x0 = self.top_left
        return boxes_xyxy - _whole((x0, y0, x0, y0))

    def in_image(self, boxes_xyxy: Tensor) -> Tensor:
        """Boxes of the crop, in pixels of the image. (K, 4) -> (K, 4)."""
        y0, x0 = self.top_left
        return boxes_xyxy + _whole((x0, y0, x0, y0))


def _whole(numbers: tuple[int, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")
