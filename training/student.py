"""The student: a `Sam` of smaller numbers that starts as what it has in common with the teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amg_cli.models.kinds import Embedding
from amg_cli.models.sam import Sam
from training.recipe import STUDENT


def new_student(teacher: Sam) -> Sam:
    """A student with every parameter of the teacher that it has a place for, the rest random.

    teacher: as in its checkpoint, nothing folded
    """
    student = Sam(STUDENT)
    own, taught = student.state_dict(), teacher.state_dict()
    fits = {k: v for k, v in taught.items() if k in own and own[k].shape == v.shape}
    student.load_state_dict(own | fits)
    return student


ENCODER = "image_encoder."
NB_FROZEN = 2  # stages of the encoder, with the merging after each: what works on fine cells
FROZEN = (f"{ENCODER}patch_embed.", *(f"{ENCODER}layers.{i}." for i in range(NB_FROZEN)))


def learnt(student: Sam) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: all but those of the encoder's first stages."""
    return {k: v for k, v in student.named_parameters() if not k.startswith(FROZEN)}


def not_frozen(student: Sam) -> dict[str, Tensor]:
    """What of the student's state is not of the encoder's first stages."""
    return {k: v for k, v in student.state_dict().items() if not k.startswith(FROZEN)}


@torch.inference_mode()
def features_of(student: Sam, image: Tensor) -> Tensor:
    """What the frozen part of the encoder makes of a model input. (1, 3, H, W) -> (1, C, h, w)."""
    encoder: Any = student.image_encoder
    image = image.contiguous(memory_format=torch.channels_last)
    return encoder.layers[:NB_FROZEN](encoder.patch_embed(image))


def embed(student: Sam, features: Tensor) -> Embedding:
    """From `features_of` one image to its embedding, with gradients. features: (1, C, h, w)."""
    encoder: Any = student.image_encoder
    height, width = features.shape[2:]
    stride = student.config.stride
    embedded = encoder.neck(encoder.layers[NB_FROZEN:](features))
    return student.embedding((embedded,), (height * stride, width * stride))
