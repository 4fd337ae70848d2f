"""Masks that are drawn already, whether they are asked for or not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """As `Decoded`, of masks that are drawn already: low_res (N, M, 4h, 4w)."""

    scores: Tensor
    low_res: Tensor

    def logits(self, keep: Tensor | None = None) -> Tensor:
        """As `Decoded`."""
        return self.low_res.flatten(0, 1) if keep is None else self.low_res[keep]
