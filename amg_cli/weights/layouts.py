"""The key layouts in which people hold checkpoints, renamed to the official one.

Renaming only: whatever is then missing or foreign is found when the architecture is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Where training scripts put the weights inside what they save.
WRAPPERS = ("state_dict", "model_state_dict", "model")

# What parallel training and wrapping modules put before every key.
PREFIXES = ("module.", "model.", "sam.", "_orig_mod.")

# MobileSAM's file still has the classifier that TinyViT was pre-trained with.
UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")

# The `transformers` library's Sam2Model: what its parts have of their own, before what follows.
_TRANSFORMERS_2 = (
    (r"^no_memory_embedding$", "image_encoder.no_mem_embed"),
    (r"^mask_decoder\.conv_s", "image_encoder.conv_s"),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (
        r"^vision_encoder\.backbone\.patch_embed\.projection\.",
        "image_encoder.trunk.patch_embed.proj.",
    ),
    (r"^vision_encoder\.backbone\.(.*)\.mlp\.proj_in\.", r"image_encoder.trunk.\1.mlp.layers.0."),
    (r"^vision_encoder\.backbone\.(.*)\.mlp\.proj_out\.", r"image_encoder.trunk.\1.mlp.layers.1."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"(?<=\.)mlp\.proj_in\.", "mlp.lin1."),
    (r"(?<=\.)mlp\.proj_out\.", "mlp.lin2."),
    (r"(?<=\.)o_proj\.", "out_proj."),
)
# The `transformers` library's SamModel: what each part of a key is called here, applied in order.
_TRANSFORMERS = (
    # kept twice there; the second is left out below
    (r"^shared_image_embedding\.positional_embedding$",
     "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
    (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
    (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
    (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
    (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    # every other MLP of the decoder has three layers
    (r"^(mask_decoder.*\.)layers\.0\.(?=(weight|bias)$)", r"\1layers.1."),
    (r"(?<=\.)proj_in\.", "layers.0."),
    (r"(?<=\.)proj_out\.", "layers.2."),
    (r"(?<=\.)layer_norm", "norm"),
)  # fmt: skip

# SAM 2's checkpoints. What they have for videos alone is left out: memory, and the heads that say
# whether the object is there and what is remembered of it.
_SAM2 = (
    (r"^sam_mask_decoder\.conv_s", "image_encoder.conv_s"),
    (r"^no_mem_embed$", "image_encoder.no_mem_embed"),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"(?<=\.transformer\.layers\.)(\d+)\.mlp\.layers\.0\.", r"\1.mlp.lin1."),
    (r"(?<=\.transformer\.layers\.)(\d+)\.mlp\.layers\.1\.", r"\1.mlp.lin2."),
)
_OF_VIDEOS = (
    "memory_attention.", "memory_encoder.", "maskmem_tpos_enc", "mask_downsample.",
    "no_mem_pos_enc", "no_obj_embed_spatial", "no_obj_ptr", "obj_ptr_proj.", "obj_ptr_tpos_proj.",
    "sam_mask_decoder.pred_obj_score_head.",
    # and by the names of `transformers`
    "mask_decoder.pred_obj_score_head.", "memory_temporal_positional_encoding",
    "no_memory_positional_encoding", "no_object_pointer", "object_pointer_proj.",
    "occlusion_spatial_embedding_parameter", "temporal_positional_encoding_projection_layer.",
)  # fmt: skip
_SECOND_COPY = "prompt_encoder.shared_embedding.positional_embedding"


def to_official(saved: Any) -> Any:
    """What a checkpoint file held, by official key where a known layout says how.

    Anything but a mapping, or an unknown layout, comes back as it is.
    """
    state = _unwrap(saved)
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        return state
    state = _without_prefix(dict(state))
    if any(key.startswith("vision_encoder.backbone.") for key in state):
        state = _of_sam2_model(state)
    elif any(key.startswith("vision_encoder.") for key in state):
        state = {_rename(key, _TRANSFORMERS): v for key, v in state.items() if key != _SECOND_COPY}
    if any(key.startswith("sam_mask_decoder.") for key in state):
        images = {key: value for key, value in state.items() if not key.startswith(_OF_VIDEOS)}
        state = {_rename(key, _SAM2): value for key, value in images.items()}
    return {key: value for key, value in state.items() if not key.startswith(UNUSED)}


def _unwrap(saved: Any) -> Any:
    while isinstance(saved, Mapping):
        inner = next((saved[key] for key in WRAPPERS if isinstance(saved.get(key), Mapping)), None)
        if inner is None:
            break
        saved = inner
    return saved


def _without_prefix(state: dict[str, Any]) -> dict[str, Any]:
    """Drop a prefix that every key has, and again, as wrappers are nested."""
    while state:
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _of_sam2_model(state: Mapping[str, Any]) -> dict[str, Any]:
    """Of the keys of a Sam2Model, or a Sam2VideoModel, whose part for videos is left out."""
    names = (*_TRANSFORMERS_2, *_TRANSFORMERS)
    left_out = (*_OF_VIDEOS, _SECOND_COPY)
    images = {_rename(k, names): v for k, v in state.items() if not k.startswith(left_out)}
    # Which has the four kinds of points in one tensor.
    for i, kind in enumerate(images.pop("prompt_encoder.point_embeddings.weight", ())):
        images[f"prompt_encoder.point_embeddings.{i}.weight"] = kind[None]
    return images


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, official in names:
        key = re.sub(pattern, official, key)
    return key
