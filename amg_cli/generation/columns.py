"""Masks by columns: of each thing that is known of them one tensor, a row a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

AnyColumns = TypeVar("AnyColumns", bound="Columns")


@dataclass(frozen=True)
class Columns:
    """K masks: the base of dataclasses whose fields are all tensors of K rows, on any devices."""

    def __getitem__(self: AnyColumns, index: torch.Tensor) -> AnyColumns:
        """Those that `index`, on the CPU, names."""
        columns = vars(self).items()
        return replace(self, **{name: c[index.to(c.device)] for name, c in columns})

    def cpu(self: AnyColumns) -> AnyColumns:
        """The same on the CPU, which waits for a GPU's."""
        return replace(self, **{name: column.cpu() for name, column in vars(self).items()})


def concat(parts: Sequence[AnyColumns]) -> AnyColumns:
    """All of `parts`, of which there is one at least, in order."""
    names = vars(parts[0])
    return replace(
        parts[0], **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    )
