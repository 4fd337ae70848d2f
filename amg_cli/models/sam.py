"""`Sam`: an image encoder, a prompt encoder and a mask decoder, without state between calls."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amg_cli.core.host import without_autocast
from amg_cli.models.fast_upscaling import Layout
from amg_cli.models.mask_decoder import Decoded, Shared, TwoWayConfig, TwoWayDecoder
from amg_cli.models.prompt_encoder import PromptEncoder, Prompts
from amg_cli.models.tiny_vit import TinyVit, TinyVitConfig
from amg_cli.models.vit import Vit, VitConfig

ENCODERS: dict[str, Any] = {"tiny_vit": TinyVit, "vit": Vit}
DECODERS: dict[str, Any] = {"two_way": TwoWayDecoder}


@dataclass(frozen=True)
class SamConfig:
    """The numbers of one architecture. An `encoder` and a `decoder` part, each of a named kind.

    input_size:       height and width of the padded input, in pixels
    fixed_input_size: pad every image to `input_size`; otherwise only to whole embedding cells
    embed_dim:        channels C of the embedding
    mask_threshold:   a pixel belongs to a mask where its logit is above this
    mask_hidden_dim:  channels inside the encoder of mask prompts
    pad_points:       points without a box get a padding point, as in every official model
    mean, std:        of each input channel, in 0-255 units
    """

    encoder: TinyVitConfig | VitConfig = field(default_factory=TinyVitConfig)
    decoder: TwoWayConfig = field(default_factory=TwoWayConfig)
    input_size: tuple[int, int] = (1024, 1024)
    fixed_input_size: bool = True
    embed_dim: int = 256
    mask_threshold: float = 0.0
    mask_hidden_dim: int = 16
    pad_points: bool = True
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell."""
        return ENCODERS[self.encoder.kind].stride(self.encoder)


@dataclass(frozen=True)
class Embedding:
    """What `encode` makes of images and `decode` takes.

    features: (B, C, h, w)
    positions: (1, C, h, w), the encoding of each cell's place
    input_hw: the padded input's size in pixels
    shared: what `Sam.prepare` has computed for all prompts on one image; None without
    """

    features: Tensor
    positions: Tensor
    input_hw: tuple[int, int]
    shared: Shared | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def nb_cells(self) -> int:
        """Cells of one image: h * w."""
        return self.features.shape[2] * self.features.shape[3]

    def __getitem__(self, image: int) -> Embedding:
        """The embedding of one image, B = 1."""
        return Embedding(self.features[image][None], self.positions, self.input_hw)


class Sam(nn.Module):
    """A model of the Segment Anything family. Source: Kirillov et al. 2023, "Segment Anything"."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        # Of drawing masks, and of encoding where the encoder is made for it.
        self.precision = torch.float32
        # Whether masks are drawn where the image is padding too, so that shapes never change.
        self.fixed_shapes = False
        # The file that the weights are of.
        self.checkpoint: Path | None = None
        self.image_encoder = ENCODERS[config.encoder.kind](config.encoder, config.embed_dim)
        self.prompt_encoder = PromptEncoder(
            config.embed_dim, config.mask_hidden_dim, config.pad_points
        )
        self.mask_decoder = DECODERS[config.decoder.kind](config.decoder, config.embed_dim)
        if torch.get_default_dtype() != torch.float32:  # in which torch's own layers are made
            self.float()

    @property
    def device(self) -> torch.device:
        """Where the model is, and its inputs must be."""
        return self.prompt_encoder.device

    @without_autocast
    def encode(self, image: Tensor) -> Embedding:
        """Normalised, padded images to embeddings. (B, 3, H, W) -> B embeddings."""
        coarse = self.precision != torch.float32 and self.image_encoder.in_16_bits
        with torch.autocast(self.device.type, self.precision) if coarse else nullcontext():
            features = self.image_encoder(image).float()
        cells_hw = (features.shape[2], features.shape[3])
        positions = self.prompt_encoder.cell_positions(cells_hw)
        return Embedding(features, positions, (image.shape[2], image.shape[3]))

    @without_autocast
    def prepare(self, embedding: Embedding, resized_hw: tuple[int, int] | None = None) -> Embedding:
        """The embedding of one image, readied for many prompts; for inference.

        It makes `decode` do less for points and boxes, with the same results but for rounding.
        resized_hw: what the image covers of the input, in pixels; beyond it nothing is drawn, but
            where shapes are fixed
        """
        cells_hw = (embedding.features.shape[2], embedding.features.shape[3])
        if resized_hw is None or self.fixed_shapes:
            resized_hw = embedding.input_hw
        sizes = zip(cells_hw, embedding.input_hw, resized_hw, strict=True)
        height, width = (_used_cells(*size) for size in sizes)
        shared = self.mask_decoder.share(
            embedding.features,
            embedding.positions,
            self.prompt_encoder.no_mask,
            Layout(cells_hw, (height, width), self.precision),
        )
        return replace(embedding, shared=shared)

    @without_autocast
    def decode(self, embedding: Embedding, prompts: Prompts, multimask: bool = True) -> Decoded:
        """Score the masks of N prompts on one image (B = 1); draw them with `Decoded.logits`.

        multimask: M = 3 masks a prompt for ambiguous prompts, otherwise M = 1. N may be 0.
        """
        tokens, per_cell = self.prompt_encoder(prompts, embedding.input_hw)
        shared = embedding.shared
        if (
            shared is not None
            and len(prompts) > 0
            and prompts.masks is None
            and self.mask_decoder.pays(tokens, multimask)
        ):
            return self.mask_decoder.forward_shared(shared, tokens, multimask)
        per_cell = per_cell[: len(prompts)]  # none for no prompts, as one does not expand to none
        return self.mask_decoder(
            embedding.features, embedding.positions, tokens, per_cell, multimask
        )


def _used_cells(cells: int, padded: int, resized: int) -> int:
    """How many cells of one axis have a logit that an image of `resized` pixels draws on.

    A mask has four logits a cell. The last pixel lies between two of them, or after the last.
    """
    place = (resized - 0.5) * 4 * cells / padded - 0.5
    nb_logits = int(max(place, 0)) + 2
    return min(cells, math.ceil(nb_logits / 4))
