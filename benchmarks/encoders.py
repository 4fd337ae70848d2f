"""The image encoder alone: ours, the published one, and ONNX Runtime, in one process, in turn.

    python benchmarks/encoders.py --checkpoint mobile_sam.pt --json benchmarks/results/encoders.json

In the environment of `benchmarks/requirements.txt`. The process keeps the memory it frees, as that
of the command does and as ONNX Runtime does by itself; else torch fetches it anew for each layer.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from amg_cli import load_model
from amg_cli.cli.process import prepare_process

Encoder = Callable[[torch.Tensor], object]
Seconds = dict[str, list[float]]


def encoders(checkpoint: Path, module: str, model_type: str) -> dict[str, Encoder]:
    """By name, each a function of a (1, 3, 1024, 1024) tensor."""
    import importlib

    fp32 = load_model(checkpoint, device="cpu")
    bf16 = load_model(checkpoint, device="cpu", precision="bf16")
    published = importlib.import_module(module).sam_model_registry[model_type]
    reference = published(checkpoint=str(checkpoint)).eval().image_encoder
    return {
        "amg fp32": fp32.encode,
        "amg bf16": bf16.encode,
        module: reference,
        "ONNX Runtime": with_onnx(reference),
    }


def with_onnx(encoder: torch.nn.Module) -> Encoder:
    """The published encoder, exported and run by ONNX Runtime."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "encoder.onnx")
        image = torch.zeros(1, 3, 1024, 1024)
        torch.onnx.export(encoder, (image,), path, dynamo=False, opset_version=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.numpy()})


@torch.inference_mode()
def in_turn(contenders: dict[str, Encoder], size_hw: tuple[int, int], rounds: int) -> Seconds:
    """Seconds of each encoder on one image of noise, of so many pixels, round by round."""
    image = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    found: Seconds = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, encode in contenders.items():
            start = time.perf_counter()
            encode(image)
            if round_:  # the first warms up
                found[name].append(round(time.perf_counter() - start, 3))
    return found


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--module", default="mobile_sam", show_default=True)
@click.option("--model-type", default="vit_t", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    checkpoint: Path, module: str, model_type: str, rounds: int, json_file: Path | None
) -> None:
    """Time the encoder side by side."""
    warnings.filterwarnings("ignore")
    prepare_process()
    found = in_turn(encoders(checkpoint, module, model_type), (1024, 1024), rounds)
    result: dict[str, Any] = {"model_type": model_type, "threads": torch.get_num_threads()}
    for name, seconds in found.items():
        click.echo(
            f"{name:<18} {statistics.median(seconds):7.3f} s ({min(seconds)} to {max(seconds)})"
        )
        result[name] = {"median_s": statistics.median(seconds), "seconds": seconds}
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
