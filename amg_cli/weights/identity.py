"""Which weights a run has, told without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amg_cli.core.errors import WeightsError
from amg_cli.weights.cache import own_settings, sha256_of
from amg_cli.weights.zoo import DEFAULT, known_model


def settings_of(checkpoint: Path | None, model_type: str | None) -> Mapping[str, Any]:
    """The settings whose default is another for a model, by name. Errors as of `weights_sha256`."""
    if checkpoint is None:
        return known_model(model_type or DEFAULT).settings
    try:
        return own_settings(checkpoint)
    except OSError as error:
        raise _cannot_read(checkpoint, error) from error


def weights_sha256(checkpoint: Path | None, model_type: str | None) -> str:
    """The SHA-256 of the weights: of a file, or else of a known model's, as published.

    Raises WeightsError for a file that cannot be read, ConfigError for a model that is not known.
    """
    if checkpoint is None:
        return known_model(model_type or DEFAULT).sha256
    try:
        return sha256_of(checkpoint)
    except OSError as error:
        raise _cannot_read(checkpoint, error) from error


def _cannot_read(checkpoint: Path, error: OSError) -> WeightsError:
    return WeightsError(checkpoint, error.strerror or str(error), "check `checkpoint`")
