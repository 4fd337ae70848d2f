"""The options of a model and of reading images, which several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.options import PATH, as_options, counting
from amg_cli.cli.words import say
from amg_cli.core.errors import InputError

if TYPE_CHECKING:
    from amg_cli.batch.reading import Reading
    from amg_cli.models.sam import Sam

ONNX_NEEDS = ("onnx", "onnxscript", "onnxruntime")


class BackendType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`auto`, `torch`, `onnx`, or `onnx:PROVIDER`."""

    name = "backend"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The option's text, in small letters; auto is torch."""
        backend = str(value).lower()
        if backend not in ("auto", "torch", "onnx") and not re.fullmatch(r"onnx:\w+", backend):
            self.fail(f"{value!r} is not torch, onnx or onnx:PROVIDER", param, ctx)
        return "torch" if backend == "auto" else backend


# fmt: off
WEIGHTS_OPTIONS = (
    click.option(
        "--checkpoint", type=PATH, metavar="FILE",
        help="The model's weights: an official checkpoint. Its architecture is read from it.",
    ),
    click.option(
        "--model-type", metavar="NAME",
        help="nano, which comes with amg; vit_t (MobileSAM), vit_b, vit_l or vit_h (called default "
        "in the reference); sam2.1_t, sam2.1_s, sam2.1_b+ or sam2.1_l (SAM 2.1), and sam2_t and so "
        "on (SAM 2); hq_vit_t and so on (SAM-HQ); tinysam, medsam. Downloaded once if there is no "
        "--checkpoint, else what that must hold; see amg models.  [default: nano]",
    ),
    click.option("--offline", is_flag=True, help="Never download weights."),
)
IMAGE_SIZE_OPTION = click.option(
    "--image-size", type=click.IntRange(min=16), metavar="N",
    help="Longest side that images are scaled to, in pixels; faster and coarser when smaller. "
    "[default: the model's own: 512 for nano, 1024 for the others]",
)
QUIET_OPTION = click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
MODEL_OPTIONS = (
    *WEIGHTS_OPTIONS,
    click.option(
        "--device", default="auto", show_default=True, metavar="NAME",
        help="auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N; for a run several, parted "
        "by commas, which have a worker each.",
    ),
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
        show_default=True, help="Of most products. auto is fp32, with the reference's masks; bf16 "
        "is faster on processors that have it (see amg doctor), by a tenth with vit_t, and moves "
        "outlines by pixels; the other models' encoders run in 16 bits too. fp16 is for GPUs.",
    ),
    click.option(
        "--compile", "compiled", is_flag=True, help="Let torch compile the model: for a GPU and "
        "many images, as the first takes a minute longer."
    ),
    click.option(
        "--backend", type=BackendType(), default="auto", show_default=True, metavar="NAME",
        help="torch, which auto is, or onnx: the encoder runs on ONNX Runtime (pip install "
        "'amg-cli[onnx]'), and the decoder too where that has more than the CPU. onnx:openvino and "
        "the like take that provider of it.",
    ),
    IMAGE_SIZE_OPTION,
    click.option(
        "--hq-token-only", is_flag=True, help="Of SAM-HQ: masks of its HQ token alone, not their "
        "sum with SAM's; its authors' choice for pictures of one thing.",
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads, of each worker in a run. "
        "[default: the cores, shared out]"
    ),
    QUIET_OPTION,
)
READING_OPTIONS = (
    click.option(
        "--stretch", is_flag=True, help="Scale images of 16 bits a channel by their range, from "
        "their darkest value to their brightest, instead of taking the high byte."
    ),
    click.option(
        "--strict", is_flag=True, help="An image with a warning, such as of damage that its "
        "decoder saw, is an error."
    ),
    click.option(
        "--max-megapixels", type=click.FloatRange(min=0, min_open=True), metavar="N",
        help="Refuse images of more, by their header. [default: 268]",
    ),
)
# fmt: on


@dataclass(frozen=True)
class ModelOptions:
    """The values of `MODEL_OPTIONS`. None is the model's own default."""

    checkpoint: Path | None
    model_type: str | None
    offline: bool
    device: str
    precision: str
    compiled: bool
    backend: str
    image_size: int | None
    hq_token_only: bool
    threads: int | None
    quiet: bool

    @staticmethod
    def of(values: Mapping[str, Any]) -> ModelOptions:
        """Those among a command's values. Raises click's usage error for some that do not fit."""
        given = {option.name: values[option.name] for option in fields(ModelOptions)}
        if given["backend"] != "torch":
            _check_is_for_onnx(given)
            given["device"] = "cpu"  # of what torch does beside
        return ModelOptions(**given)

    def load(self, settings: Mapping[str, Any] | None = None) -> Sam:
        """The model, on its device and with its threads. Errors as of `load_model`.

        settings: its own, which a line says where they count
        """
        if self.backend != "torch":
            check_onnx(f"backend {self.backend}")
        from amg_cli.models.compiled import check_compilable, compile_model
        from amg_cli.models.devices import find_device, set_threads
        from amg_cli.models.hq_token import with_hq_token_only
        from amg_cli.weights.loading import load_model

        if not self.quiet:
            _say_which(self.checkpoint or self.model_type, settings or {})
        if self.compiled:
            check_compilable(find_device(self.device))
        if self.threads:
            set_threads(self.threads)
        model = load_model(
            self.checkpoint,
            model_type=self.model_type,
            device=self.device,
            precision=self.precision,
            image_size=self.image_size,
            offline=self.offline,
            progress=not self.quiet and sys.stderr.isatty(),
        )
        if self.hq_token_only:
            model = with_hq_token_only(model)
        if self.compiled:
            compile_model(model)
        return model if self.backend == "torch" else self._on_onnx_runtime(model)

    def _on_onnx_runtime(self, model: Sam) -> Sam:
        from amg_cli.export.backend import on_onnx_runtime

        provider = self.backend.partition(":")[2] or None
        return on_onnx_runtime(model, provider, (lambda _: None) if self.quiet else say)


def _check_is_for_onnx(given: Mapping[str, Any]) -> None:
    if given["compiled"]:
        raise click.UsageError("--compile is for --backend torch")
    if given["precision"] not in ("auto", "fp32"):
        raise click.UsageError(f"--precision {given['precision']} is for --backend torch")
    if given["device"] not in ("auto", "cpu"):
        cause = "--device is for --backend torch"
        raise click.UsageError(f"{cause}; a GPU is a provider, as --backend onnx:cuda")


def check_onnx(what: str) -> None:
    """Raises InputError where what ONNX needs is not installed, saying what brings it."""
    for name in ONNX_NEEDS:
        if find_spec(name) is None:
            raise InputError(what, f"needs {name}", "pip install 'amg-cli[onnx]'")


def given_reading(values: Mapping[str, Any]) -> Reading:
    """How images are read, as `READING_OPTIONS` say."""
    from amg_cli.batch.integrity import MAX_PIXELS
    from amg_cli.batch.reading import Reading

    megapixels = values["max_megapixels"]
    return Reading(
        max_pixels=MAX_PIXELS if megapixels is None else int(megapixels * 1e6),
        stretch=values["stretch"],
        strict=values["strict"],
    )


def model_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the model of a command's values has of its own, and that count there."""
    from amg_cli.weights.identity import settings_of

    return counting(settings_of(values["checkpoint"], values["model_type"]), values)


def _say_which(named: Path | str | None, settings: Mapping[str, Any]) -> None:
    """The model that is taken where none is named, and a better one; settings of its own."""
    from amg_cli.weights.cache import human_bytes
    from amg_cli.weights.zoo import DEFAULT, ZOO

    own = f" with its own {as_options(settings)}" if settings else ""
    if named is not None:
        if own:
            say(f"model {named}{own}")
        return
    size = human_bytes(ZOO["vit_h"].size_bytes)
    better = f"for better masks --model-type vit_h ({size}, downloaded)"
    say(f"model {DEFAULT}, which comes with amg{own and f',{own}'}; {better}")
