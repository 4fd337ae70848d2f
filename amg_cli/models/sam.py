"""`Sam`: an image encoder, a prompt encoder and a mask decoder, without state between calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amg_cli.core.host import in_own_precision
from amg_cli.models.configs import SamConfig
from amg_cli.models.decoders.fine_two_way import FineTwoWayDecoder
from amg_cli.models.decoders.hq_two_way import HqTwoWayDecoder
from amg_cli.models.decoders.two_way import TwoWayDecoder
from amg_cli.models.encoders.hiera import Hiera
from amg_cli.models.encoders.tiny_vit import TinyVit
from amg_cli.models.encoders.vit import Vit
from amg_cli.models.kinds import Decoded, Decoder, Embedding, Encoder
from amg_cli.models.modes import Modes
from amg_cli.models.prompt_encoder import PromptEncoder, Prompts

# By the `kind` of a config: what makes a network of that config and the embedding's channels.
ENCODERS: dict[str, Callable[[Any, int], Encoder]] = {
    "tiny_vit": TinyVit,
    "vit": Vit,
    "hiera": Hiera,
}
DECODERS: dict[str, Callable[[Any, int], Decoder]] = {
    "two_way": TwoWayDecoder,
    "fine_two_way": FineTwoWayDecoder,
    "hq_two_way": HqTwoWayDecoder,
}


class Sam(nn.Module):
    """A model of the Segment Anything family. Source: Kirillov et al. 2023, "Segment Anything".

    config: its numbers
    modes: how it is run
    name: of the known model that it is, such as vit_t; empty for one that was not loaded
    checkpoint: the file that its weights are of, if they are of one
    settings: of `GenerationConfig`, by name, those whose default is another for it
    refines_boxes: whether a second prompt, by the mask found, betters the masks of boxes
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.modes = Modes()
        self.name = ""
        self.checkpoint: Path | None = None
        self.settings: Mapping[str, Any] = {}
        self.refines_boxes = True
        self.image_encoder = ENCODERS[config.encoder.kind](config.encoder, config.embed_dim)
        self.prompt_encoder = PromptEncoder(
            config.embed_dim, config.mask_hidden_dim, config.pad_points, config.pad_boxes
        )
        self.mask_decoder = DECODERS[config.decoder.kind](config.decoder, config.embed_dim)
        if torch.get_default_dtype() != torch.float32:  # in which torch's own layers are made
            self.float()

    @property
    def device(self) -> torch.device:
        """Where the model is, and its inputs must be."""
        return self.prompt_encoder.device

    @in_own_precision
    def encode(self, image: Tensor) -> Embedding:
        """Normalised, padded images to embeddings. (B, 3, H, W) -> B embeddings."""
        precision = self.modes.precision
        coarse = precision != torch.float32 and self.image_encoder.in_16_bits
        encoder: Any = self.modes.compiled(self.image_encoder)
        with torch.autocast(self.device.type, precision) if coarse else nullcontext():
            levels = tuple(level.float() for level in encoder(image))
        return self.embedding(levels, (image.shape[2], image.shape[3]))

    def embedding(self, levels: tuple[Tensor, ...], input_hw: tuple[int, int]) -> Embedding:
        """What the decoder takes, of the encoder's levels. input_hw: of the input, in pixels."""
        cells_hw = (levels[0].shape[2], levels[0].shape[3])
        positions = self.prompt_encoder.cell_positions(cells_hw)
        return Embedding(levels, positions, self.prompt_encoder.no_mask, input_hw)

    @in_own_precision
    def prepare(self, embedding: Embedding, resized_hw: tuple[int, int] | None = None) -> Embedding:
        """The embedding of one image, readied for many prompts; for inference.

        It makes `decode` do less, with the same results but for rounding.
        resized_hw: what the image covers of the input, in pixels; beyond it nothing is drawn, but
            where shapes are fixed
        """
        if resized_hw is None or self.modes.fixed_shapes:
            resized_hw = embedding.input_hw
        sizes = zip(embedding.cells_hw, embedding.input_hw, resized_hw, strict=True)
        height, width = (_used_cells(*size) for size in sizes)
        shared = self.mask_decoder.prepare(embedding, (height, width), self.modes)
        return replace(embedding, shared=shared)

    @in_own_precision
    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        multimask: bool = True,
        over: float | None = None,
    ) -> Decoded:
        """Score the masks of N prompts on one image (B = 1); draw them with `Decoded.logits`.

        multimask: M = 3 masks a prompt for ambiguous prompts, otherwise M = 1. Of SAM-HQ M is
            always 1: the best of the three, or the other. N may be 0.
        over: as of `Decoder`; waits for a GPU
        """
        tokens, cells = self.prompt_encoder(prompts, embedding.input_hw)
        return self.mask_decoder(embedding, tokens, cells, multimask, over)

    def as_prompts(self, logits: Tensor) -> Tensor:
        """Logits of masks, of any shape, as they come back as masks of a prompt."""
        bound = self.config.logit_bound
        return logits if bound is None else logits.clamp(-bound, bound)


def _used_cells(cells: int, padded: int, resized: int) -> int:
    """How many cells of one axis have a logit that an image of `resized` pixels draws on.

    A mask has four logits a cell. The last pixel lies between two of them, or after the last.
    """
    place = (resized - 0.5) * 4 * cells / padded - 0.5
    nb_logits = int(max(place, 0)) + 2
    return min(cells, math.ceil(nb_logits / 4))
