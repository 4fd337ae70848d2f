"""What has made the masks of a folder, kept beside them, so that none are taken for another's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amg_cli.batch.earlier_records import completed
from amg_cli.batch.engines.local import Work
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import OutputError
from amg_cli.models.onnx import OnnxEncoder
from amg_cli.weights.cache import sha256_of

FILE = "made_by.json"


def maker_of(work: Work, config: GenerationConfig) -> dict[str, Any]:
    """What decides the masks that a run makes: the weights' SHA-256, the settings, by name."""
    model = work.model
    return {
        "weights": None if model.checkpoint is None else sha256_of(model.checkpoint),
        "input_size": list(model.config.input_size),
        "precision": str(model.modes.precision).removeprefix("torch."),
        "stretch": work.reading.stretch,
        "backend": "onnx" if isinstance(model.image_encoder, OnnxEncoder) else "torch",
        "hq_token_only": getattr(model.config.decoder, "hq_token_only", False),
        **dataclasses.asdict(config),
    }


def claim(folder: Path, maker: Mapping[str, Any], holds_masks: bool) -> None:
    """Record who makes the masks of a folder, or see that it is the same who made those there.

    Raises OutputError, naming each difference, if it is another; and if there are masks whose maker
    is not recorded.
    """
    path = folder / FILE
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if holds_masks:
            raise _other(folder, "nothing says what made the masks in it") from None
        path.write_text(json.dumps(maker, indent=1) + "\n", encoding="utf-8")
        return
    except (OSError, ValueError) as error:
        raise OutputError(path, f"cannot be read: {error}", "give another `output`") from error
    earlier = completed(earlier)
    different = [
        f"{name} {_short(earlier.get(name))}, now {_short(value)}"
        for name, value in maker.items()
        if earlier.get(name) != value
    ]
    if different:
        raise _other(folder, f"the masks in it were made with {'; '.join(different)}")


def _other(folder: Path, cause: str) -> OutputError:
    return OutputError(folder, cause, "give another `output`, or `masks` to score them as they are")


def _short(value: Any) -> str:
    return value[:8] if isinstance(value, str) and len(value) == 64 else json.dumps(value)
