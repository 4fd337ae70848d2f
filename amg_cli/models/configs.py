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
    def side_multiple(self) -> int:
        """What the input's sides must be multiples of, in pixels."""

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
    early_level: give the image after stage 1 and its merging too, of `embed_dims[2]` channels
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
    early_level: bool = False

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell: four of a patch, then the mergings."""
        return 4 * math.prod(self.strides)

    @property
    def side_multiple(self) -> int:
        """What the input's sides must be multiples of, in pixels: whole cells."""
        return self.stride

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
    early_level: give the image after the first global block too, of `embed_dim` channels
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
    early_level: bool = False

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell, which is a patch."""
        return self.patch_size

    @property
    def side_multiple(self) -> int:
        """What the input's sides must be multiples of, in pixels: whole cells."""
        return self.stride

    @property
    def first_conv(self) -> str:
        """The name of the convolution that sees the image's channels."""
        return "image_encoder.patch_embed.proj"


@dataclass(frozen=True)
class HieraConfig:
    """The encoder's published numbers; the defaults are those of SAM 2's base-plus.

    One entry a stage in `depths` and `window_sizes`. From one stage to the next channels and heads
    double, and sides halve. The embedding is of the last stage but one, and the last.
    nb_heads:      of the first stage
    window_sizes:  in tokens; a stage's first block still has the window of the stage before
    global_blocks: those that attend over the whole image; the others attend in windows
    position_hw:   of the coarse position embeddings, which are stretched over the image
    """

    kind: str = "hiera"
    in_channels: int = 3
    embed_dim: int = 112
    nb_heads: int = 2
    depths: tuple[int, ...] = (2, 3, 16, 3)
    window_sizes: tuple[int, ...] = (8, 4, 14, 7)
    global_blocks: tuple[int, ...] = (12, 16, 20)
    position_hw: tuple[int, int] = (14, 14)
    mlp_ratio: float = 4.0
    layer_norm_eps: float = 1e-6

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell: four of a token, and the halvings."""
        return 4 * 2 ** (len(self.depths) - 2)

    @property
    def side_multiple(self) -> int:
        """What the input's sides must be multiples of, in pixels.

        Tokens are halved stage by stage, and have a position in the windows of the first.
        """
        return 4 * math.lcm(2 ** (len(self.depths) - 1), self.window_sizes[0])

    @property
    def first_conv(self) -> str:
        """The name of the convolution that sees the image's channels."""
        return "image_encoder.trunk.patch_embed.proj"


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
class FineTwoWayConfig(TwoWayConfig):
    """SAM 2's decoder: two-way, and masks are drawn on finer levels too.

    All mask tokens take part, whatever `all_mask_tokens`.
    Of a clear prompt the one mask is, where it is not stable, the best of those for ambiguous ones:
    stability_delta:  how far the cutoff moves, in logits
    stability_thresh: the least IoU between the mask with the cutoff moved up and down
    """

    kind: str = "fine_two_way"
    stability_delta: float = 0.05
    stability_thresh: float = 0.98


@dataclass(frozen=True)
class HqTwoWayConfig(TwoWayConfig):
    """SAM-HQ's decoder: two-way, and each mask is corrected by one of finer features.

    All mask tokens take part, whatever `all_mask_tokens`. A prompt has one mask, ambiguous or not.
    early_channels: of the encoder's early level, which the features are made of too
    hq_token_only: masks are those of the finer features alone, not their sum with SAM's. The
        weights do not depend on it: a decoder's `config` can be replaced by one that has it.
    """

    kind: str = "hq_two_way"
    early_channels: int = 768
    hq_token_only: bool = False


@dataclass(frozen=True)
class SamConfig:
    """The numbers of one architecture. An `encoder` and a `decoder` part, each of a named kind.

    input_size:       height and width of the padded input, in pixels
    stretched:        images fill the input, whatever their shape; otherwise they are padded
    fixed_input_size: pad every image to `input_size`; otherwise only to whole embedding cells
    embed_dim:        channels C of the embedding
    mask_threshold:   a pixel belongs to a mask where its logit is above this
    mask_hidden_dim:  channels inside the encoder of mask prompts
    pad_points:       points without a box get a padding point, as in every official model
    pad_boxes:        so do boxes, and points with one, as in SAM 2
    logit_bound:      logits that come back as masks of a prompt are cut to plus and minus this;
                      None for none
    mean, std:        of each input channel, in 0-255 units
    """

    encoder: EncoderConfig = field(default_factory=TinyVitConfig)
    decoder: DecoderConfig = field(default_factory=TwoWayConfig)
    input_size: tuple[int, int] = (1024, 1024)
    stretched: bool = False
    fixed_input_size: bool = True
    embed_dim: int = 256
    mask_threshold: float = 0.0
    mask_hidden_dim: int = 16
    pad_points: bool = True
    pad_boxes: bool = False
    logit_bound: float | None = None
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    @property
    def stride(self) -> int:
        """Input pixels along one side of an embedding cell."""
        return self.encoder.stride

    def frame(self, image_hw: tuple[int, int]) -> Frame:
        """How an image of that height and width lies in the model's input."""
        from amg_cli.core.frame import Frame  # loads torch, which this module must not

        if self.stretched:
            return Frame.stretch(image_hw, self.input_size)
        multiple = 0 if self.fixed_input_size else self.stride
        return Frame.fit(image_hw, self.input_size, multiple)
