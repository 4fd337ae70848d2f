"""Networks that run on ONNX Runtime, of the same kinds as the others."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amg_cli.core.errors import DeviceError
from amg_cli.models.decoders.drawn import Drawn
from amg_cli.models.kinds import CellPrompts, Decoded, Decoder, Embedding
from amg_cli.models.modes import Modes

ERRORS = 3  # what ONNX Runtime says, and no less


class OnnxGraph:
    """A file with a graph, opened by each process that runs it, as no session survives a fork.

    providers: ONNX Runtime's execution providers, the one to be tried first in front
    """

    def __init__(self, path: Path, providers: Sequence[str]) -> None:
        self.path, self.providers = path, tuple(providers)
        self._opened: Any = None
        self._process = -1  # that has opened it
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "providers": self.providers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["providers"])  # type: ignore[misc]

    @property
    def nb_bytes(self) -> int:
        """Of its files: the graph, and weights that lie beside it."""
        files = self.path.parent.glob(f"{self.path.name}*")
        return sum(file.stat().st_size for file in files)

    def check(self) -> None:
        """Open it, and forget it again. Raises DeviceError where its provider does not start."""
        self._session()

    def run(self, **inputs: Tensor) -> list[Tensor]:
        """The outputs, in the graph's order, on the CPU. Errors as of `check`."""
        given = {name: _array(tensor) for name, tensor in inputs.items()}
        with self._lock:  # of the threads that decode, one opens it
            if self._process != os.getpid():
                self._opened, self._process = self._session(), os.getpid()
        # A CPU's session is for many threads; not every provider's is.
        with nullcontext() if self.providers[0].startswith("CPU") else self._lock:
            found = self._opened.run(None, given)
        return [torch.from_numpy(each) for each in found]

    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERRORS
        onnxruntime.set_default_logger_severity(ERRORS)
        wanted = self.providers[0]
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), options, providers=list(self.providers), enable_fallback=False
            )
        except RuntimeError as error:
            cause = str(error).strip().partition("\n")[0]
            raise DeviceError(
                wanted, f"does not start: {cause}", "give another provider"
            ) from error
        if session.get_providers()[0] != wanted:
            raise DeviceError(wanted, "does not start here", "give another provider")
        return session


class OnnxEncoder(nn.Module):
    """An image encoder of one level. graph: from `input` to `image_embeddings`"""

    in_16_bits = False

    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__()
        self.graph = graph

    def fold(self) -> None:
        """Ready as it is."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As `Encoder`; one image after another, as the graph is of one."""
        embeddings = [self.graph.run(input=each[None])[0] for each in image]
        return (torch.cat(embeddings).to(image.device),)


class OnnxDecoder(nn.Module):
    """A mask decoder that draws all masks at once.

    decoder: what its graphs are of, which does what they do not: masks as prompts, no prompts, and
        other numbers of tokens
    graphs: from `image_embeddings` and `tokens` to `scores` and `low_res_masks`; by the tokens of a
        prompt, and whether it is ambiguous
    """

    def __init__(self, decoder: Decoder, graphs: Mapping[tuple[int, bool], OnnxGraph]) -> None:
        super().__init__()
        self.decoder = decoder
        self.graphs = dict(graphs)

    def draws_coarsely(self, embedding: Embedding) -> bool:
        """As `Decoder`: its graphs draw all."""
        return False

    def forward(
        self,
        embedding: Embedding,
        tokens: Tensor,
        cells: CellPrompts | None,
        multimask: bool,
        over: float | None = None,
    ) -> Decoded:
        """As `Decoder`."""
        graph = self.graphs.get((tokens.shape[1], multimask))
        if graph is None or cells is not None or not len(tokens):
            return self.decoder(embedding, tokens, cells, multimask, over)
        found = graph.run(image_embeddings=embedding.features, tokens=tokens)
        scores, logits = (tensor.to(tokens.device) for tensor in found)
        return Drawn(scores, logits)

    def prepare(self, embedding: Embedding, used_hw: tuple[int, int], modes: Modes) -> Any:
        """As `Decoder`; for what the graphs do not do."""
        return self.decoder.prepare(embedding, used_hw, modes)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)
