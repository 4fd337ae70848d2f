"""A network of ours as an ONNX graph, for sizes that may change."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto, ValueInfoProto
from torch import Tensor, nn
from torch.export import Dim

from amg_cli.core.errors import ConfigError
from amg_cli.export.networks import DecoderNetwork, EncoderNetwork, PointsNetwork, TokensNetwork
from amg_cli.models.configs import FineTwoWayConfig, HqTwoWayConfig, SamConfig
from amg_cli.models.sam import Sam

EXAMPLES = 3  # of what may change in number; 1 would be taken to be always 1
MOST_CELLS = 4096  # of one axis of an embedding


@dataclass(frozen=True)
class Network:
    """A network, and what it is traced with.

    takes: an example of each input, by name; gives: the outputs' names
    sizes: of each input, those that may change, by axis; they are called as their `Dim`
    """

    module: nn.Module
    takes: Mapping[str, Tensor]
    gives: tuple[str, ...]
    sizes: Mapping[str, Mapping[int, Any]]


def check_has_graphs(model: Sam) -> None:
    """Raises ConfigError for a model whose kind has no graphs yet."""
    if isinstance(model.config.decoder, (FineTwoWayConfig, HqTwoWayConfig)):
        cause = f"{model.name or 'the model'} draws on several levels, which no graph has yet"
        raise ConfigError("model type", cause, "take another model")


def encoder_network(model: Sam) -> Network:
    """The image encoder: of its one input size or, where it takes others, of all."""
    config = model.config
    image = _zeros(1, len(config.mean), *config.input_size)
    sizes = {axis: config.stride * cells for axis, cells in _cells(config).items()}
    return Network(EncoderNetwork(model), {"input": image}, ("image_embeddings",), {"input": sizes})


def points_network(model: Sam) -> Network:
    """One foreground point a prompt."""
    takes = {"image_embeddings": _embeddings(model.config), "points_xy": _zeros(EXAMPLES, 2)}
    sizes = {"image_embeddings": _cells(model.config), "points_xy": {0: Dim("N", min=1)}}
    return Network(PointsNetwork(model), takes, ("scores", "low_res_masks"), sizes)


def prompts_network(model: Sam, single: bool) -> Network:
    """Prompts of several points and a mask. single: as of `DecoderNetwork`"""
    embeddings, cells = _embeddings(model.config), _cells(model.config)
    height, width = embeddings.shape[2:]
    takes = {
        "image_embeddings": embeddings,
        "point_coords": _zeros(EXAMPLES, EXAMPLES + 1, 2),
        "point_labels": _zeros(EXAMPLES, EXAMPLES + 1),
        "mask_input": _zeros(1, 1, 4 * height, 4 * width),
        "has_mask_input": _zeros(1),
    }
    of_points = {0: Dim("N", min=1), 1: Dim("P", min=1)}
    sizes: dict[str, dict[int, Any]] = {
        "image_embeddings": cells,
        "point_coords": of_points,
        "point_labels": of_points,
        "mask_input": {axis: 4 * size for axis, size in cells.items()},
        "has_mask_input": {},
    }
    gives = ("iou_predictions", "low_res_masks")
    return Network(DecoderNetwork(model, single), takes, gives, sizes)


def tokens_network(model: Sam, nb_tokens: int, multimask: bool) -> Network:
    """The mask decoder alone, for prompts of so many tokens. multimask: as of `Decoder`"""
    embeddings = _embeddings(model.config)
    takes = {
        "image_embeddings": embeddings,
        "tokens": _zeros(EXAMPLES, nb_tokens, embeddings.shape[1]),
    }
    sizes = {"image_embeddings": _cells(model.config), "tokens": {0: Dim("N", min=1)}}
    return Network(TokensNetwork(model, multimask), takes, ("scores", "low_res_masks"), sizes)


def trace(network: Network, opset: int, folder: Path) -> ModelProto:
    """The graph; its weights lie in a file of their own in `folder`, which is the graph's alone."""
    arguments = tuple(network.takes.values())
    dynamic = tuple(network.sizes[name] for name in network.takes)
    with torch.no_grad(), _quietly():
        # Not strict, which takes minutes where many sizes may change.
        program = torch.export.export(
            network.module, arguments, dynamic_shapes=dynamic, strict=False
        )
        exported = torch.onnx.export(
            program,
            arguments,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=list(network.takes),
            output_names=list(network.gives),
        )
    assert exported is not None  # which it is without dynamo only
    path = folder / "network.onnx"
    exported.save(path, external_data=True)
    return _with_names(onnx.load(path, load_external_data=False), network)


def _with_names(graph: ModelProto, network: Network) -> ModelProto:
    """With sizes called as the network calls them, in place of the exporter's s27."""
    names: dict[str, str] = {}
    for given in graph.graph.input:
        for axis, size in network.sizes[given.name].items():
            found = given.type.tensor_type.shape.dim[axis].dim_param
            if re.fullmatch(r"\w+", found):
                names[found] = size.__name__
    values = (*graph.graph.input, *graph.graph.output, *graph.graph.value_info)
    for dim in (dim for value in values for dim in _dims(value)):
        if dim.dim_param:
            dim.dim_param = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), dim.dim_param)
    return graph


def _dims(value: ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def _cells(config: SamConfig) -> dict[int, Any]:
    """The sizes of an embedding that may change, by axis."""
    if config.fixed_input_size:
        return {}
    return {2: Dim("h", min=1, max=MOST_CELLS), 3: Dim("w", min=1, max=MOST_CELLS)}


def _embeddings(config: SamConfig) -> Tensor:
    height, width = (side // config.stride for side in config.input_size)
    return _zeros(1, config.embed_dim, height, width)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float32, device="cpu")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of libraries that are not there, and of its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
