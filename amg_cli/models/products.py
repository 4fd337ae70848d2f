"""Products of matrices, on a CPU by the faster of the two kernels that torch has.

For float32, `F.linear` goes to MKL, which leaves half of an AMD processor's vector width unused;
oneDNN, which torch takes for convolutions and for 16 bits, does not. Torch has its linear layer,
with a GELU in the same pass, as an operator that only its own compiler calls. So: where that is
missing or does not apply, torch's usual functions, which define what is computed; the two differ
by rounding only.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.devices import multiplies_bf16

# Absent from builds without oneDNN. On Arm torch's usual functions are as fast.
_HERE = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _HERE else None
_TYPES = (torch.float32, torch.bfloat16) if multiplies_bf16() else (torch.float32,)


class Linear(nn.Linear):
    """An `nn.Linear` by `linear`."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(…, C_in) -> (…, C_out), with GELU after it if asked for."""
        return linear(x, self.weight, self.bias, gelu)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """As `F.linear`, then GELU if asked for. x (…, K), weight (C, K), bias (C) -> (…, C)."""
    if _by_onednn(x, weight, bias):
        return _ONEDNN(x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


def matmuls(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.bmm`, or `torch.baddbmm`. (N, A, K), (N, K, B), bias (B,) -> (N, A, B)."""
    if len(a) == 1 and _by_onednn(a, b[0], bias):
        return linear(a, b[0].mT, bias)
    return torch.bmm(a, b) if bias is None else torch.baddbmm(bias, a, b)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN's operator applies: on a CPU, without gradients, autocast or a compiler.

    It takes columns of a matrix too, but a thousand times slower.
    """
    given = (x, weight) if bias is None else (x, weight, bias)
    return (
        _ONEDNN is not None
        and not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in _TYPES
        and x.numel() > 0
        and (weight.is_contiguous() or weight.mT.is_contiguous())
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in given))
    )
