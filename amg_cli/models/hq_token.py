"""SAM-HQ without SAM's part of its masks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

from torch import nn

from amg_cli.core.errors import ConfigError
from amg_cli.models.decoders.hq_two_way import HqTwoWayDecoder
from amg_cli.models.sam import Sam

M = TypeVar("M", bound=nn.Module)


def with_hq_token_only(model: Sam) -> Sam:
    """The same model, with the same parameters, whose masks are those of its HQ token alone.

    What it has encoded is the same. Raises ConfigError for a model that is none of SAM-HQ.
    """
    decoder = model.mask_decoder
    if not isinstance(decoder, HqTwoWayDecoder):
        cause = f"{model.name or 'the model'} has no HQ token"
        raise ConfigError("hq token only", cause, "leave it out, or take a model of SAM-HQ")
    config = replace(decoder.config, hq_token_only=True)
    other_decoder, other = _copied(decoder), _copied(model)
    other_decoder.config = config
    other.mask_decoder = other_decoder
    other.config = replace(model.config, decoder=config)
    return other


def _copied(module: M) -> M:
    """A module of the same parts, of which each can be replaced without replacing it there."""
    copied = copy.copy(module)
    vars(copied)["_modules"] = dict(module.named_children())
    return copied
