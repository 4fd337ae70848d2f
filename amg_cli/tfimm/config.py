"""`SegmentAnythingModelConfig`: an architecture by the names that `tfimm` gives its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from amg_cli.core.errors import ConfigError
from amg_cli.models.configs import SamConfig, TwoWayConfig, VitConfig


@dataclass(frozen=True)
class SegmentAnythingModelConfig:
    """The numbers of one architecture; the defaults are ViT-B's.

    name, url: of the model, and of its weights
    in_channels, input_size: of images: channels; (height, width)
    fixed_input_size: refuse images of another size; otherwise positions are stretched to theirs
    embed_dim: channels of image and prompt embeddings
    nb_multimask_outputs: masks of an ambiguous prompt
    mask_threshold: a pixel belongs to a mask where its logit is above
    encoder_…: the image encoder's: patch side in pixels, channels, blocks, heads, widening of the
        MLPs, drop rates for training, norm ("layer_norm" or "layer_norm_eps_1e-6", or another
        number), activation ("gelu"), whether the projections to query, key and value have a bias,
        the blocks that attend over the whole image, and the windows' side of the others
    prompt_mask_hidden_dim: channels inside the encoder of mask prompts
    decoder_…: the mask decoder's: blocks, heads, channels of MLPs; of the score's head layers and
        channels
    mean, std: of each channel, of pixels in [0, 1]
    first_conv: the name of the convolution that sees the channels
    """

    name: str = ""
    url: str = ""
    in_channels: int = 3
    input_size: tuple[int, int] = (1024, 1024)
    fixed_input_size: bool = True
    embed_dim: int = 256
    nb_multimask_outputs: int = 3
    mask_threshold: float = 0.0
    encoder_patch_size: int = 16
    encoder_embed_dim: int = 768
    encoder_nb_blocks: int = 12
    encoder_nb_heads: int = 12
    encoder_mlp_ratio: float = 4.0
    encoder_drop_rate: float = 0.0
    encoder_attn_drop_rate: float = 0.0
    encoder_drop_path_rate: float = 0.0
    encoder_norm_layer: str = "layer_norm_eps_1e-6"
    encoder_act_layer: str = "gelu"
    encoder_qkv_bias: bool = True
    encoder_global_attn_indices: tuple[int, ...] = (2, 5, 8, 11)
    encoder_window_size: int = 14
    prompt_mask_hidden_dim: int = 16
    decoder_nb_blocks: int = 2
    decoder_nb_heads: int = 8
    decoder_mlp_channels: int = 2048
    decoder_iou_head_depth: int = 3
    decoder_iou_hidden_dim: int = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    first_conv: str = "image_encoder/patch_embed/proj"

    def to_sam_config(self) -> SamConfig:
        """The same architecture as this program has it.

        Raises ConfigError for a norm or an activation that there is none of, for an input size that
        is no multiple of the patches', and for mean or std of another number of channels.
        """
        height, width = self.input_size
        patch = self.encoder_patch_size
        if height % patch or width % patch:
            cause = f"{self.input_size} are no multiples of {patch} pixels"
            raise ConfigError("input_size", cause)
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.in_channels:
                raise ConfigError(name, f"one number for each of {self.in_channels} channels")
        if self.encoder_act_layer != "gelu":
            raise ConfigError("encoder_act_layer", f"{self.encoder_act_layer} is not known", "gelu")
        encoder = VitConfig(
            in_channels=self.in_channels,
            patch_size=patch,
            grid_hw=(height // patch, width // patch),
            embed_dim=self.encoder_embed_dim,
            nb_blocks=self.encoder_nb_blocks,
            nb_heads=self.encoder_nb_heads,
            mlp_ratio=self.encoder_mlp_ratio,
            qkv_bias=self.encoder_qkv_bias,
            window_size=self.encoder_window_size,
            global_blocks=tuple(self.encoder_global_attn_indices),
            layer_norm_eps=_eps(self.encoder_norm_layer),
            drop_rate=self.encoder_drop_rate,
            attn_drop_rate=self.encoder_attn_drop_rate,
            drop_path_rate=self.encoder_drop_path_rate,
        )
        decoder = TwoWayConfig(
            nb_multimask_outputs=self.nb_multimask_outputs,
            nb_blocks=self.decoder_nb_blocks,
            nb_heads=self.decoder_nb_heads,
            mlp_channels=self.decoder_mlp_channels,
            iou_head_depth=self.decoder_iou_head_depth,
            iou_head_hidden_dim=self.decoder_iou_hidden_dim,
        )
        return SamConfig(
            encoder=encoder,
            decoder=decoder,
            input_size=(height, width),
            fixed_input_size=self.fixed_input_size,
            embed_dim=self.embed_dim,
            mask_threshold=self.mask_threshold,
            mask_hidden_dim=self.prompt_mask_hidden_dim,
            mean=tuple(255 * value for value in self.mean),
            std=tuple(255 * value for value in self.std),
        )


def _eps(norm_layer: str) -> float:
    """Of a layer norm by its name."""
    found = re.fullmatch(r"layer_norm(?:_eps_([0-9.e-]+))?", norm_layer)
    try:
        return float(found[1] or 1e-5) if found else _unknown(norm_layer)
    except ValueError:
        return _unknown(norm_layer)


def _unknown(norm_layer: str) -> float:
    known = "layer_norm, layer_norm_eps_1e-6"
    raise ConfigError("encoder_norm_layer", f"{norm_layer} is not known", f"known: {known}")
