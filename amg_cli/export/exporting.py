"""`export`: a model's graphs as files that need neither torch nor amg."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import onnx.parser
from onnx import ModelProto

from amg_cli.core.errors import ConfigError, OutputError, reason
from amg_cli.core.version import __version__
from amg_cli.export import pixels
from amg_cli.export.joining import joined
from amg_cli.export.reduced import DTYPES, reduce
from amg_cli.export.tracing import (
    Network,
    check_has_graphs,
    encoder_network,
    points_network,
    prompts_network,
    trace,
)
from amg_cli.models.sam import Sam

OPSETS = range(18, 22)  # the first has the resize that images need
LARGE_BYTES = 1_000_000_000  # of weights, for which a file of their own is made: one holds 2 GB
DATA = ".data"
NAMES = ("encoder", "decoder", "grid", "masks")


@dataclass(frozen=True)
class Graph:
    """One file.

    network: what is traced of the model; None for none
    before, after: of `pixels`, what comes before it and after it
    gives: the outputs
    """

    name: str
    gives: tuple[str, ...]
    network: Network | None = None
    before: str = ""
    after: str = ""


def export(
    model: Sam,
    folder: Path,
    *,
    dtype: str = "fp32",
    opset: int = OPSETS[0],
    single_mask: bool = False,
) -> Iterator[Path]:
    """Write a model's graphs, over older ones, and give each one's path when it is there.

    encoder.onnx: image, (H, W, 3) uint8 RGB of any size -> image_embeddings (1, C, h, w)
    decoder.onnx: as the published export: image_embeddings, point_coords (N, P, 2) in pixels of the
        input, point_labels (N, P), mask_input (1, 1, 4h, 4w), has_mask_input (1,), orig_im_size
        (2,) -> masks (N, 4, H, W) logits, iou_predictions (N, 4), low_res_masks (N, 4, 4h, 4w)
    grid.onnx: image_embeddings, points (N, 2) in pixels of the image, orig_im_size,
        stability_offset (1,) -> scores, stability_scores, areas (N, M), boxes (N, M, 4), XYXY with
        both corners inside, and low_res_masks (N, M, 4h, 4w)
    masks.onnx: low_res_masks_kept (K, 4h, 4w), orig_im_size -> masks_kept (K, H, W) bool

    dtype: of weights and products: fp32, fp16, or int8, which leaves convolutions in fp32
    single_mask: decoder.onnx gives only the best mask of a prompt, as the published option has it
    Raises ConfigError for an opset or a dtype that is not known, and for SAM 2, which has no graphs
    yet; OutputError where nothing can be written.
    Source: Kirillov et al. 2023, "Segment Anything", and its published export.
    """
    check(dtype, opset)
    check_has_graphs(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for graph in _graphs(model, single_mask):
            with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
                made = _made(graph, model, dtype, opset, Path(scratch))
                path = folder / f"{graph.name}.onnx"
                save(made, Path(scratch), path)
            yield path
    except OSError as error:
        raise OutputError(folder, reason(error), "give another `output`") from error


def check(dtype: str, opset: int) -> None:
    """Raises ConfigError as `export`."""
    if opset not in OPSETS:
        raise ConfigError("opset", f"{opset} is not one of {OPSETS[0]} to {OPSETS[-1]}")
    if dtype not in DTYPES:
        raise ConfigError("dtype", f"{dtype} is not one of {', '.join(DTYPES)}")


def paths_of(folder: Path) -> list[Path]:
    """What `export` may write there."""
    return [folder / f"{name}.onnx{suffix}" for name in NAMES for suffix in ("", DATA)]


def _graphs(model: Sam, single_mask: bool) -> list[Graph]:
    masks = ("masks", "iou_predictions", "low_res_masks")
    everything = ("scores", "stability_scores", "areas", "boxes", "low_res_masks")
    return [
        Graph("encoder", ("image_embeddings",), encoder_network(model), pixels.BEFORE_ENCODER),
        Graph("decoder", masks, prompts_network(model, single_mask), after=pixels.AFTER_DECODER),
        Graph("grid", everything, points_network(model), pixels.BEFORE_POINTS, pixels.AFTER_POINTS),
        Graph("masks", ("masks_kept",), before=pixels.MASKS),
    ]


def _made(graph: Graph, model: Sam, dtype: str, opset: int, scratch: Path) -> ModelProto:
    """The whole graph; the weights of its network lie in `scratch`."""
    parts = []
    if graph.before:
        parts.append(_parsed(graph.before, model, opset))
    if graph.network is not None:
        parts.append(reduce(trace(graph.network, opset, scratch), dtype, scratch))
    if graph.after:
        parts.append(_parsed(graph.after, model, opset))
    whole = joined(graph.name, parts, graph.gives)
    whole.producer_name, whole.producer_version = "amg", __version__
    about = {"model": model.name, "dtype": dtype, "config": json.dumps(asdict(model.config))}
    onnx.helper.set_model_props(whole, about)
    return whole


def _parsed(template: str, model: Sam, opset: int) -> ModelProto:
    return onnx.parser.parse_model(pixels.text_of(template, model.config, opset))


def save(graph: ModelProto, scratch: Path, path: Path) -> None:
    """Move a graph to its path when it is whole and sound; with its weights, or beside them."""
    files = {entry.value for tensor in graph.graph.initializer for entry in _locations(tensor)}
    large = sum((scratch / name).stat().st_size for name in files) > LARGE_BYTES
    if large:
        (data,) = files
        for tensor in graph.graph.initializer:
            for entry in _locations(tensor):
                entry.value = path.name + DATA
        (scratch / data).rename(scratch / (path.name + DATA))
    else:
        onnx.load_external_data_for_model(graph, str(scratch))
    whole = scratch / path.name
    onnx.save(graph, whole)
    onnx.checker.check_model(whole, full_check=True)
    apart = path.with_name(path.name + DATA)
    if large:
        (scratch / apart.name).replace(apart)
    whole.replace(path)
    if not large:
        apart.unlink(missing_ok=True)  # of a larger one that lay here


def _locations(tensor: onnx.TensorProto) -> Iterator[onnx.StringStringEntryProto]:
    """Where a tensor lies that is in another file."""
    yield from (entry for entry in tensor.external_data if entry.key == "location")
