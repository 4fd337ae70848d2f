"""Every number of the recipe for `nano`, whose architecture is in the table of known models."""

from __future__ import annotations

from dataclasses import dataclass

from amg_cli.weights.zoo import NANO

STUDENT = NANO


@dataclass(frozen=True)
class Recipe:
    """What is prepared, and how it is learnt.

    nb_views:        views that are prepared and learnt from, drawn at random from all there are
    points, boxes:   prompts a view of a photograph; a box is that of a teacher's mask, jittered
    min_crop:        sides of the smallest random crop, as a share of the photograph's
    views:           of each photograph: the whole, then random crops; half of all are mirrored
    views_a_part:    in a file of prepared data, so that none is over 60 MB
    batch_views, batch_prompts: of a step: so many views, and of each so many points, or as many
        boxes as it has
    clear:           share of the views whose prompts ask for one mask, not three
    refit_views, refit_steps, refit_tokens, refit_rate: views whose tokens the MLPs are fitted to,
        steps of the fit, tokens of one, and its learning rate
    steps, warm_up:  of the optimiser
    learning_rate:   at its highest; it falls as a cosine
    encoder_rate:    the encoder's, as a share of that
    ema:             share of the old weights in the average that is exported
    focal, dice, iou: weights of the losses
    calibration:     photographs that the exported scores are calibrated on
    passing:         share of all masks whose predicted IoU passes the default threshold then; more
        than of the teacher's, as the student's stability tells its good masks better
    """

    seed: int = 0
    nb_views: int = 2304
    points: int = 20
    boxes: int = 8
    views: int = 2
    min_crop: float = 0.4
    views_a_part: int = 16
    batch_views: int = 4
    batch_prompts: int = 16
    clear: float = 0.1
    refit_views: int = 96
    refit_steps: int = 4000
    refit_tokens: int = 2048
    refit_rate: float = 2e-3
    steps: int = 2500
    warm_up: int = 50
    learning_rate: float = 2e-4
    encoder_rate: float = 0.25
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.998
    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    calibration: int = 12
    passing: float = 0.88
