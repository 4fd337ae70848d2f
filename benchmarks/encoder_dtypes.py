"""What an encoder in bf16 or with int8 weights saves, and what it costs in masks.

    python benchmarks/encoder_dtypes.py --data coco_val --output FOLDER [--checkpoint FILE]
    python benchmarks/encoder_dtypes.py --checkpoint vit_b.pth    # seconds alone

Only the encoder changes; the decoder has float32. Int8 is torch's own: of the linear layers, with
inputs quantised as they come. Masks go to FOLDER/DTYPE, and are scored by `amg eval`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import click
import torch
from side_by_side import machine
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli import generate, load_model, reference_record
from amg_cli.batch.reading import read_image
from amg_cli.cli.process import prepare_process
from amg_cli.models.products import Linear
from amg_cli.models.sam import Sam

DTYPES = ("fp32", "bf16", "int8")


class InBf16(nn.Module):
    """An encoder under autocast."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As an `Encoder`."""
        with torch.autocast("cpu", torch.bfloat16):
            return tuple(level.float() for level in self.encoder(image))


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, called as `amg_cli`'s own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        plain.load_state_dict(layer.state_dict())
        quantise: Any = torch.ao.quantization.quantize_dynamic
        self.layer = quantise(nn.Sequential(plain), {nn.Linear}, dtype=torch.qint8)[0]

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """As `Linear`."""
        y: Tensor = self.layer(x)
        return F.gelu(y) if gelu else y


def with_encoder_in(dtype: str, checkpoint: Path | None) -> Sam:
    """A model whose encoder alone is in another type."""
    model = load_model(checkpoint, device="cpu")
    encoder: Any = model.image_encoder
    if dtype == "bf16":
        model.image_encoder = InBf16(encoder)  # type: ignore[assignment]
    if dtype == "int8":
        named = [(name, each) for name, each in encoder.named_modules() if type(each) is Linear]
        for name, layer in named:
            encoder.set_submodule(name, Int8Linear(layer))
    return model


def seconds_of(models: dict[str, Sam], rounds: int) -> dict[str, list[float]]:
    """Of encoding one image of the model's own size, in turn."""
    height, width = models["fp32"].config.input_size
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    found: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for round_ in range(rounds + 1):
            for name, model in models.items():
                start = time.perf_counter()
                model.encode(image)
                if round_:  # the first warms up
                    found[name].append(round(time.perf_counter() - start, 4))
    return found


def write_masks(model: Sam, images: list[Path], folder: Path) -> None:
    """By the reference's settings, in its form; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        file = folder / f"{path.stem}.json"
        if not file.exists():
            masks = generate(read_image(path), model)
            file.write_text(json.dumps([reference_record(mask) for mask in masks]))


def amg_eval(*arguments: Any) -> dict[str, Any]:
    """The scores."""
    json_file = Path(arguments[-1])
    command = [sys.executable, "-m", "amg_cli", "eval", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    scores: dict[str, Any] = json.loads(json_file.read_text())["scores"]
    return scores


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="To make masks of.")
@click.option("--output", type=click.Path(path_type=Path), help="Where they go.")
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="Instead of nano.")
@click.option("--limit", default=50, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    data: Path | None, output: Path | None, checkpoint: Path | None, limit: int, rounds: int,
    json_file: Path | None,
) -> None:  # fmt: skip
    """Seconds of the encoder in each type; and the masks that come of it."""
    if (data is None) != (output is None):
        raise click.UsageError("--data and --output go together")
    warnings.filterwarnings("ignore")
    prepare_process()
    models = {dtype: with_encoder_in(dtype, checkpoint) for dtype in DTYPES}
    rows: dict[str, Any] = {
        name: {"seconds": seconds} for name, seconds in seconds_of(models, rounds).items()
    }
    for name, row in rows.items():
        if data is not None and output is not None:
            images = sorted((data / "images").iterdir())[:limit]
            write_masks(models[name], images, output / name)
            against = ("--masks", output / name, "--json", output / f"{name}.json")
            row["scores"] = amg_eval(
                "--truth", data / "instances.json", "--limit", limit, *against
            ) | amg_eval("--against", output / "fp32", *against)
        low, high = min(row["seconds"]), max(row["seconds"])
        click.echo(f"{name}: {statistics.median(row['seconds']):.3f} s ({low:.3f} to {high:.3f})")
        for score, value in row.get("scores", {}).items():
            click.echo(f"  {score}: {value}")
    if json_file:
        result = {"machine": machine(), "model": models["fp32"].name, "dtypes": rows}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
