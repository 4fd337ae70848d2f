"""From a name to a text-image encoder: of the library `open_clip`, or a user's own.

`open_clip` brings the architectures, the table of published weights, and a cached download of them
by `huggingface_hub` (into HF_HOME, ~/.cache/huggingface). Nothing of it is imported until it is
needed.
"""

from __future__ import annotations

import difflib
import logging
import os
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from amg_cli.core.errors import WeightsError, briefly
from amg_cli.weights.cache import sha256_of

if TYPE_CHECKING:
    import torch

    from amg_cli.models.text_image import TextImageEncoder

ENCODER, WEIGHTS = "ViT-B-32", "laion2b_s34b_b79k"  # CLIP of 151 M parameters: 0.6 GB
EXTRA = "pip install 'amg-cli[text]'"
LIST = "python -c 'import open_clip; print(*open_clip.list_models())' lists them"
_OWN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
_MEMBERS = ("texts", "crops", "scale")
# What open_clip raises for weights that cannot be had, or are of another kind.
_FAULTS = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ImportError, EOFError, StopIteration, pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True)
class EncoderSource:
    """Which text-image encoder: a plain value, which other processes take.

    name: an architecture of open_clip, or MODULE:FACTORY, a function of a module that Python finds,
        here or installed, which takes nothing and gives a `TextImageEncoder`
    weights: a tag of open_clip's, or a file; None for those of the default architecture. A factory
        has its own
    offline: do not download
    progress: bars on stderr while downloading
    """

    name: str = ENCODER
    weights: str | None = None
    offline: bool = False
    progress: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is a user's."""
        return _OWN.fullmatch(self.name) is not None

    def check(self) -> None:
        """Raises WeightsError for what can be told to fail before anything is loaded."""
        if self.is_own:
            if self.weights is not None:
                remedy = "leave `text_weights` out, and let it load its own"
                raise WeightsError(self.name, "is an encoder of your own", remedy)
            return
        if find_spec("open_clip") is None:
            raise WeightsError(f"text-image encoder {self.name}", "needs open_clip", EXTRA)

    def recorded(self) -> dict[str, str | None]:
        """What tells it from others, in types that JSON has: of a file, its SHA-256.

        Raises WeightsError for a file that cannot be read.
        """
        weights = self.weights
        if weights is None:
            weights = WEIGHTS if self.name == ENCODER else None
        elif Path(weights).is_file():
            try:
                weights = sha256_of(Path(weights))
            except OSError as error:
                cause = error.strerror or str(error)
                raise WeightsError(weights, cause, "check `text_weights`") from error
        return {"text_encoder": self.name, "text_weights": weights}

    def load(self) -> TextImageEncoder:
        """The encoder, one of open_clip on the CPU. Errors as of `load_text_image_encoder`."""
        self.check()
        return _own(self.name) if self.is_own else _of_open_clip(self)


def load_text_image_encoder(
    name: str = ENCODER,
    weights: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    offline: bool = False,
    progress: bool = False,
) -> TextImageEncoder:
    """An encoder for `name_masks`: of open_clip, which `amg-cli[text]` brings, or a user's own.

    Arguments as of `EncoderSource`, and
    device: auto, cpu, mps, cuda or cuda:N, or a torch.device, of one that can be moved
    Raises WeightsError, with the remedy, where open_clip is missing, for an architecture or weights
    that it does not know, and for weights that are damaged, of another architecture or cannot be
    downloaded; DeviceError for a device that is not there.
    """
    from amg_cli.models.devices import find_device

    target = find_device(str(device))
    given = None if weights is None else os.fspath(weights)
    return on_device(EncoderSource(name, given, offline, progress).load(), target)


def on_device(encoder: TextImageEncoder, device: torch.device) -> TextImageEncoder:
    """The same encoder, moved if it is one that can be."""
    if hasattr(encoder, "to"):
        encoder.to(device)
    return encoder


def _own(name: str) -> TextImageEncoder:
    """What a user's factory gives. Raises WeightsError."""
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it; last, so that it hides nothing
        sys.path.append(here)
    try:
        factory = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError, SyntaxError) as error:
        remedy = "give MODULE:FACTORY, a function of a module that is here or installed"
        raise WeightsError(name, _cause(error), remedy) from error
    try:
        encoder = factory()
    except (*_FAULTS, NameError) as error:
        cause = f"raised {type(error).__name__}: {_cause(error)}"
        raise WeightsError(name, cause, "mend the function") from error
    missing = [member for member in _MEMBERS if not hasattr(encoder, member)]
    if missing:
        cause = f"gives {briefly(encoder)}, which has no {', no '.join(missing)}"
        remedy = "see amg_cli.models.text_image.TextImageEncoder"
        raise WeightsError(name, cause, remedy)
    return cast("TextImageEncoder", encoder)


def _of_open_clip(source: EncoderSource) -> TextImageEncoder:
    from amg_cli.models.text_image import OpenClip

    where = f"text-image encoder {source.name}"
    with _network(allowed=not source.offline, progress=source.progress):
        open_clip = _imported(where)
        _check_known(open_clip, source.name, where)
        weights = _weights(open_clip, source, where)
        about = open_clip.get_pretrained_cfg(source.name, weights)
        is_file = Path(weights).is_file()
        if not is_file:
            _download(open_clip, source, weights, about)
        try:
            model = open_clip.create_model(
                source.name,
                pretrained=weights,
                # Which activation weights are for goes by their tag, not by the architecture.
                force_quick_gelu=bool(not is_file and about.get("quick_gelu")),
            )
            tokenizer = open_clip.get_tokenizer(source.name)
        except (*_FAULTS, _safetensors_error()) as error:
            cause = f"cannot be made of {weights}: {_cause(error).partition('. ')[0]}"
            remedy = "give `text_weights` of this architecture, whole ones"
            raise WeightsError(where, cause, remedy) from error
    return OpenClip(model, tokenizer)


def _check_known(open_clip: Any, name: str, where: str) -> None:
    known = open_clip.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known)
        remedy = f"near are {', '.join(near)}; {LIST}" if near else LIST
        raise WeightsError(where, "open_clip has no such architecture", remedy)


def _weights(open_clip: Any, source: EncoderSource, where: str) -> str:
    """A file, or one of the architecture's tags. Raises WeightsError for what is neither."""
    weights = source.weights or (WEIGHTS if source.name == ENCODER else "")
    tags = open_clip.list_pretrained_tags_by_model(source.name)
    if Path(weights).is_file() or open_clip.is_pretrained_cfg(source.name, weights):
        return weights
    cause = f"{weights} is no file, and none of its weights" if weights else "has no usual weights"
    published = f", or one of {', '.join(tags)}" if tags else ""
    raise WeightsError(where, cause, f"give `text_weights` a file{published}")


def _download(open_clip: Any, source: EncoderSource, tag: str, about: Mapping[str, Any]) -> None:
    """Get the weights of a tag into the cache, if they are not there. Raises WeightsError."""
    where = f"weights {tag} of text-image encoder {source.name}"
    other = "give `text_weights` a file"
    try:
        open_clip.download_pretrained(about)
    except _FAULTS as error:
        if source.offline:
            cause = "not in the cache, and not downloaded when offline"
            remedy = f"run once without `offline`, or {other}"
            raise WeightsError(where, cause, remedy) from error
        remedy = f"run again with a network, or {other}"
        cause = f"cannot be downloaded: {_cause(_first_of(error))}"
        raise WeightsError(where, cause, remedy) from error


def _imported(where: str) -> Any:
    """The library. Raises WeightsError where it, or what it needs, does not load."""
    try:
        return import_module("open_clip")
    except (ImportError, RuntimeError, OSError) as error:
        # As a torchvision that was made for another torch: a RuntimeError.
        remedy = f"{EXTRA}, and the torchvision that is made for this torch"
        raise WeightsError(where, f"open_clip does not load: {_cause(error)}", remedy) from error


@contextmanager
def _network(allowed: bool, progress: bool) -> Iterator[None]:
    """Inside, huggingface_hub connects if it may, and shows bars if it shall.

    It reads HF_HUB_OFFLINE once, as it is imported, into a constant that each request looks at.
    """
    if find_spec("huggingface_hub") is None:  # as open_clip will say
        yield
        return
    constants: Any = import_module("huggingface_hub.constants")
    bars: Any = import_module("huggingface_hub.utils")
    was_offline, had_bars = constants.HF_HUB_OFFLINE, not bars.are_progress_bars_disabled()
    log = logging.getLogger("huggingface_hub")
    level = log.level
    constants.HF_HUB_OFFLINE = was_offline or not allowed
    if not progress:
        bars.disable_progress_bars()
        log.setLevel(logging.ERROR)  # it has a line for each try
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        log.setLevel(level)
        if had_bars and not progress:
            bars.enable_progress_bars()


def _safetensors_error() -> type[Exception]:
    """What that library raises, which is of no other kind."""
    return cast("type[Exception]", import_module("safetensors").SafetensorError)


def _first_of(error: BaseException) -> BaseException:
    """The error that all began with."""
    while before := error.__cause__ or error.__context__:
        error = before
    return error


def _cause(error: BaseException) -> str:
    """An error in one line, and not a long one."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"
