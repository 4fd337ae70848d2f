"""Which weights a run has, told without torch."""

from __future__ import annotations

from pathlib import Path

from amg_cli.core.errors import WeightsError
from amg_cli.weights.cache import sha256_of
from amg_cli.weights.zoo import DEFAULT, known_model


def weights_sha256(checkpoint: Path | None, model_type: str | None) -> str:
    """The SHA-256 of the weights: of a file, or else of a known model's, as published.

    Raises WeightsError for a file that cannot be read, ConfigError for a model that is not known.
    """
    if checkpoint is None:
        return known_model(model_type or DEFAULT).sha256
    try:
        return sha256_of(checkpoint)
    except OSError as error:
        cause = error.strerror or str(error)
        raise WeightsError(checkpoint, cause, "check `checkpoint`") from error
