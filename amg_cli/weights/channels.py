"""A model of three channels, made one of another number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from amg_cli.core.config import whole_number
from amg_cli.core.errors import ConfigError, in_short
from amg_cli.models.configs import SamConfig


def with_channels(
    config: SamConfig, state: Mapping[str, Tensor], channels: int
) -> tuple[SamConfig, dict[str, Tensor]]:
    """The architecture and the parameters for images of so many channels.

    For one the first convolution's weights are summed over red, green and blue, so that grey is
    about what it is in three channels; for others they are repeated in order, and scaled by
    3 / channels, so that sums stay as large. Mean and std go with them: their mean for one, else
    repeated.

    Raises ConfigError for what is no whole number from 1.
    """
    count = whole_number(channels)
    if count is None or count < 1:
        raise ConfigError("in_channels", f"{in_short(channels)} is not a whole number from 1")
    trained = config.encoder.in_channels
    if count == trained:
        return config, dict(state)
    key = f"{config.encoder.first_conv}.weight"
    weight = state[key]
    if count == 1:
        adapted = weight.sum(dim=1, keepdim=True)
    else:
        order = [i % trained for i in range(count)]
        adapted = weight[:, order] * (trained / count)
    return of_channels(config, count), {**state, key: adapted}


def of_channels(config: SamConfig, count: int) -> SamConfig:
    """The architecture alone, with its mean and std."""
    trained = len(config.mean)

    def spread(values: tuple[float, ...]) -> tuple[float, ...]:
        """One value a channel."""
        if count == 1:
            return (sum(values) / trained,)
        return tuple(values[i % trained] for i in range(count))

    encoder: Any = config.encoder  # a dataclass, which the protocol does not say
    return replace(
        config,
        encoder=replace(encoder, in_channels=count),
        mean=spread(config.mean),
        std=spread(config.std),
    )
