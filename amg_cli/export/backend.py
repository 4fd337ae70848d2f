"""A model on ONNX Runtime: its graphs are made once, and kept in the cache."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import onnxruntime
import onnxscript
import torch

from amg_cli.core.errors import DeviceError, OutputError, reason
from amg_cli.core.version import __version__
from amg_cli.export.exporting import OPSETS, save
from amg_cli.export.tracing import (
    Network,
    check_has_graphs,
    encoder_network,
    tokens_network,
    trace,
)
from amg_cli.models.onnx import OnnxDecoder, OnnxEncoder, OnnxGraph
from amg_cli.models.sam import Sam
from amg_cli.weights.cache import cache_folder

CPU = "CPUExecutionProvider"
SUFFIX = "ExecutionProvider"
# Taken by their names only: Azure's calls a server, and TensorRT's takes minutes to begin.
UNASKED = ("AzureExecutionProvider", "TensorrtExecutionProvider")


def on_onnx_runtime(
    model: Sam, provider: str | None = None, say: Callable[[str], object] = lambda _: None
) -> Sam:
    """The model, its encoder on ONNX Runtime, and its decoder too but on a CPU.

    There torch's decoder, which does less, is the faster one by measurement. The model is changed.
    model: on the CPU
    provider: of ONNX Runtime's execution providers, such as "openvino"; None for the first that it
        has
    say: gets a line before what takes long
    Raises DeviceError for a provider that this ONNX Runtime does not have, or that does not start;
    OutputError where the cache cannot be written to; ConfigError for SAM 2, which has no graphs.
    """
    check_has_graphs(model)
    providers = find_providers(provider)
    graphs = _Graphs(model, providers, say)
    encoder = OnnxEncoder(graphs.of("encoder", encoder_network))
    if providers[0] != CPU:
        encoder.graph.check()
        model.mask_decoder = OnnxDecoder(
            model.mask_decoder,
            {
                (nb_tokens, multimask): graphs.of(
                    name, partial(tokens_network, nb_tokens=nb_tokens, multimask=multimask)
                )
                for name, nb_tokens, multimask in _prompts(model)
            },
        )
    model.image_encoder = encoder
    return model


def find_providers(name: str | None = None) -> list[str]:
    """ONNX Runtime's names of a provider, and the CPU's. Errors as of `on_onnx_runtime`.

    name: of it, with or without its "ExecutionProvider", in any case
    """
    there: list[str] = onnxruntime.get_available_providers()
    if name is None:
        return list(dict.fromkeys([next(p for p in there if p not in UNASKED), CPU]))
    short = {each.removesuffix(SUFFIX).lower(): each for each in there}
    found = short.get(name.lower().removesuffix(SUFFIX.lower()))
    if found is None:
        have = ", ".join(short)
        cause = f"not in this ONNX Runtime {onnxruntime.__version__}"
        raise DeviceError(f"provider {name}", cause, f"here are: {have}")
    return list(dict.fromkeys([found, CPU]))


def _prompts(model: Sam) -> list[tuple[str, int, bool]]:
    """The prompts of runs: their name, the tokens of one, and whether it is ambiguous."""
    return [("points", 2 if model.config.pad_points else 1, True), ("boxes", 2, False)]


class _Graphs:
    """Of a model: in the cache, or made."""

    def __init__(self, model: Sam, providers: list[str], say: Callable[[str], object]) -> None:
        self._model, self._providers, self._say = model, providers, say
        versions = (__version__, torch.__version__, onnx.__version__, onnxscript.__version__)
        digest = hashlib.sha256(repr((model.config, versions, OPSETS[0])).encode())
        for name, tensor in model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        key = digest.hexdigest()[:16]
        self._folder = cache_folder() / "onnx" / f"{model.name or 'model'}-{key}"

    def of(self, name: str, network: Callable[[Sam], Network]) -> OnnxGraph:
        """One of them."""
        path = self._folder / f"{name}.onnx"
        if not path.is_file():
            self._say(f"making {name}.onnx, once, in {self._folder}")
            try:
                self._make(network(self._model), path)
            except OSError as error:
                remedy = "let it be written to, or set AMG_CACHE to another"
                raise OutputError(self._folder, reason(error), remedy) from error
        return OnnxGraph(path, self._providers)

    def _make(self, network: Network, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".export-") as scratch:
            save(trace(network, OPSETS[0], Path(scratch)), Path(scratch), path)
