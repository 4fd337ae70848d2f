"""What an encoder in bf16 or with int8 weights saves, and what it costs in masks.

    python benchmarks/encoder_dtypes.py --data coco_val --output FOLDER [--checkpoint FILE]
    python benchmarks/encoder_dtypes.py --checkpoint vit_b.pth    # seconds alone

Only the encoder changes; the decoder has float32. Int8 is torch's own: of the linear layers, with
inputs quantised as they come. Masks go to FOLDER/DTYPE, and are scored by `amg eval`.
"""

from __future__ import annotations

import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import click
import torch
from encoders import in_turn
from onnx_dtypes import figures_of
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


def write_masks(model: Sam, images: list[Path], folder: Path) -> None:
    """By the reference's settings, in its form; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        file = folder / f"{path.stem}.json"
        if not file.exists():
            masks = generate(read_image(path), model)
            file.write_text(json.dumps([reference_record(mask) for mask in masks]))


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
    found = in_turn(
        {dtype: model.encode for dtype, model in models.items()},
        models["fp32"].config.input_size,
        rounds,
    )
    rows: dict[str, Any] = {name: {"seconds": seconds} for name, seconds in found.items()}
    for name, row in rows.items():
        if data is not None and output is not None:
            images = sorted((data / "images").iterdir())[:limit]
            write_masks(models[name], images, output / name)
            row["scores"] = figures_of(output / name, output / "fp32", data, limit)["scores"]
        low, high = min(row["seconds"]), max(row["seconds"])
        click.echo(f"{name}: {statistics.median(row['seconds']):.3f} s ({low:.3f} to {high:.3f})")
        for score, value in row.get("scores", {}).items():
            click.echo(f"  {score}: {value}")
    if json_file:
        result = {"machine": machine(), "model": models["fp32"].name, "dtypes": rows}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
