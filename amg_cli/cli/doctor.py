"""`amg doctor`: what this machine has, a line each, for bug reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from amg_cli.core.errors import AmgError
from amg_cli.core.version import __version__

if TYPE_CHECKING:
    from amg_cli.weights.zoo import KnownModel

LIBRARIES = (
    "torch",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pycocotools",
    "click",
    "tqdm",
    "safetensors",
    "open_clip_torch",
)


@click.command()
def doctor() -> None:
    """What this machine has, for a bug report."""
    for name, finding in _findings():
        click.echo(f"{name:<22} {finding}")


def _findings() -> Iterator[tuple[str, str]]:
    """Name and finding, a line each."""
    yield "amg", __version__
    yield "python", f"{platform.python_version()}, {platform.platform()}"
    for library in LIBRARIES:
        yield library, _version(library)
    yield from _devices()
    yield "onnxruntime", _onnx_runtime()
    yield from _weights()


def _onnx_runtime() -> str:
    """Its version and providers, and what there is to gain by them."""
    try:
        import onnxruntime
    except ImportError:
        return "not installed; pip install 'amg-cli[onnx]' for --backend onnx and amg export"
    names = [
        each.removesuffix("ExecutionProvider") for each in onnxruntime.get_available_providers()
    ]
    others = [name.lower() for name in names if name not in ("CPU", "Azure")]
    # vit_t's, by `benchmarks/encoders.py` on a processor with AVX-512 and on one with AVX2.
    gain = "--backend onnx encodes in .65 to .85 of torch's time with vit_t"
    if others:
        gain = f"--backend onnx:{others[0]} may run encoder and decoder there"
    return f"{onnxruntime.__version__}, {', '.join(names)}; {gain}"


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from amg_cli.models.devices import multiplies_bf16
    from amg_cli.models.products import tried

    kind = torch.backends.cpu.get_cpu_capability()
    bf16 = "fast bf16" if multiplies_bf16() else "slow bf16"
    yield "cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {kind}, fp32, {bf16}"
    yield "products", tried().finding
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for i in range(count):
        properties = torch.cuda.get_device_properties(i)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        bf16 = "fp16, bf16" if torch.cuda.is_bf16_supported() else "fp16, no bf16"
        yield f"cuda:{i}", f"{properties.name}, {memory}, fp32, {bf16}"
    if not count:
        yield "cuda", "none"
    yield "mps", "available" if torch.backends.mps.is_available() else "none"


def _weights() -> Iterator[tuple[str, str]]:
    from amg_cli.weights.cache import REINSTALL, cache_folder, is_present
    from amg_cli.weights.zoo import ZOO

    try:
        folder = cache_folder()
        parent = next(path for path in (folder, *folder.parents) if path.exists())
        state = "can be written to" if os.access(parent, os.W_OK) else "cannot be written to"
        yield "cache", f"{folder}, {state}"
        known_here = list(ZOO.values())
    except AmgError as error:
        yield "cache", str(error)
        known_here = [known for known in ZOO.values() if known.url is None]
    for known in known_here:
        absent = "not downloaded" if known.url else f"not in the package; {REINSTALL}"
        here = "present" if is_present(known) else absent
        yield known.name, f"{here}; {_verified(known)}"


def _verified(known: KnownModel) -> str:
    """What is known of its file, and what its network was held against."""
    file = "bytes and SHA-256 as in two public sources"
    if not known.can_be_checked:
        file = "not verified, no two public sources have bytes and SHA-256"
    elif known.url is None:
        file = "this package's own"
    return f"file: {file}; network held against: {known.held_against}"
