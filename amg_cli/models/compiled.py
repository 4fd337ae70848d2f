"""Compiling a model with torch.compile, for GPUs."""

from __future__ import annotations

import torch

from amg_cli.core.errors import DeviceError
from amg_cli.models import fast_decoder
from amg_cli.models.sam import Sam


def compile_model(model: Sam, backend: str = "inductor") -> None:
    """Let torch compile what takes the time, when it first runs: once for images of all sizes.

    Masks are then drawn at one shape, of the whole padded input, and only `generate` and prompts in
    groups of one size run without compiling anew. backend: of torch.compile

    Raises DeviceError for a model on a CPU, which it would make slower.
    """
    if model.device.type in fast_decoder.ONE_BY_ONE:
        raise DeviceError("compiling", "makes it slower on a CPU", "leave it out, or use a GPU")
    model.fixed_shapes = True
    model.image_encoder.compile(backend=backend, dynamic=False)
    decoder = model.mask_decoder
    decoder.transform = torch.compile(decoder.transform, backend=backend, dynamic=False)
    decoder.draw_all = torch.compile(decoder.draw_all, backend=backend, dynamic=False)
