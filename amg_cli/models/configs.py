"""The numbers of the architectures, without the networks: nothing here loads torch.

Each part's `kind` names its class, in `amg_cli.models.sam`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amg_cli.core.frame import Frame


class EncoderConfig(Protocol):
    """What every kind of encoder says of itself."""

    @property
    def kind(self) -> str:
        """The name of the kind."""

    @property
    def in_channels(self) -> int:
        """Channels of the image."""

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell."""

    @property
    def first_conv(self) -> str:
        """The name of the convolution that sees the image's channels."""


class DecoderConfig(Protocol):
    """What every kind of decoder says of itself."""

    @property
    def kind(self) -> str:
        """The name of the kind."""


@dataclass(frozen=True)
class TinyVitConfig:
    """The encoder's published numbers; the defaults are MobileSAM's (TinyViT-5M).

    One entry a stage in each tuple. Stage 0 is convolutional, so its window and heads are not used.
    `strides[i]` is the step of the merging before stage i + 1.
    """

    kind: str = "tiny_vit"
    in_channels: int = 3
    embed_dims: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (2, 4, 5, 10)
    window_sizes: tuple[int, ...] = (7, 7, 14, 7)
    strides: tuple[int, ...] = (2, 2, 1)
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    local_conv_size: int = 3
    layer_norm_eps: float = 1e-5

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell: four of a patch, then the mergings."""
        return 4 * math.prod(self.strides)

    @property
    def first_conv(self) -> str:
        """The name of the convolution that sees the image's channels."""
        return "image_encoder.patch_embed.seq.0.c"


@dataclass(frozen=True)
class VitConfig:
    """The encoder's published numbers; the defaults are ViT-B's.

    grid_hw:       patches along the height and the width of the input it was trained at
    global_blocks: those that attend over the whole image; the others attend in windows
    drop_rate, attn_drop_rate, drop_path_rate: for training
    """

    kind: str = "vit"
    in_channels: int = 3
    patch_size: int = 16
    grid_hw: tuple[int, int] = (64, 64)
    embed_dim: int = 768
    nb_blocks: int = 12
    nb_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    use_abs_pos: bool = True
    use_rel_pos: bool = True
    window_size: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    layer_norm_eps: float = 1e-6
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell, which is a patch."""
        return self.patch_size

    @property
    def first_conv(self) -> str:
        """The name of the convolution that sees the image's channels."""
        return "image_encoder.patch_embed.proj"


@dataclass(frozen=True)
class TwoWayConfig:
    """The decoder's published numbers; the defaults are those of every official model.

    all_mask_tokens: tokens of masks that are not asked for take part too
    last_block_updates_image: the image attends to the tokens in the last block too, as in those
        before
    """

    kind: str = "two_way"
    nb_multimask_outputs: int = 3
    nb_blocks: int = 2
    nb_heads: int = 8
    mlp_channels: int = 2048
    attention_downsample_rate: int = 2
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    all_mask_tokens: bool = True
    last_block_updates_image: bool = True


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

    encoder: EncoderConfig = field(default_factory=TinyVitConfig)
    decoder: DecoderConfig = field(default_factory=TwoWayConfig)
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
        return self.encoder.stride

    def frame(self, image_hw: tuple[int, int]) -> Frame:
        """How an image of that height and width lies in the model's input."""
        from amg_cli.core.frame import Frame  # loads torch, which this module must not

        multiple = 0 if self.fixed_input_size else self.stride
        return Frame.fit(image_hw, self.input_size, multiple)
