"""Every number of the recipe for `nano`, and its architecture."""

from __future__ import annotations

from dataclasses import dataclass

from amg_cli.models.mask_decoder import TwoWayConfig
from amg_cli.models.sam import SamConfig

# MobileSAM's encoder at half its input, and a decoder of half its width.
STUDENT = SamConfig(
    decoder=TwoWayConfig(nb_heads=4, mlp_channels=512, iou_head_hidden_dim=128),
    input_size=(512, 512),
    embed_dim=128,
)


@dataclass(frozen=True)
class Recipe:
    """What is prepared, and how it is learnt.

    points, boxes:   prompts a view of a photograph; a box is that of a teacher's mask, jittered
    min_crop:        sides of the smallest random crop, as a share of the photograph's
    views:           of each photograph: the whole, then random crops; half of all are mirrored
    views_a_part:    in a file of prepared data, so that none is over 60 MB
    batch_views, batch_prompts: of a step: so many views, and prompts of each
    steps, warm_up:  of the optimiser
    learning_rate:   at its highest; it falls as a cosine
    ema:             share of the old weights in the average that is exported
    focal, dice, iou: weights of the losses
    """

    seed: int = 0
    points: int = 20
    boxes: int = 8
    views: int = 2
    min_crop: float = 0.4
    views_a_part: int = 16
    batch_views: int = 8
    batch_prompts: int = 14
    steps: int = 24_000
    warm_up: int = 500
    learning_rate: float = 8e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.9995
    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
