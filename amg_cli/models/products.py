"""Products of matrices, on a CPU by the faster of the two kernels that torch has.

For float32, `F.linear` goes to MKL, which leaves half of an AMD processor's vector width unused;
oneDNN, which torch takes for convolutions and for 16 bits, does not. Torch has its linear layer,
with a GELU in the same pass, as an operator that only its own compiler calls. So: where that is
missing, does not apply, or does not give their numbers when it is tried first, torch's usual
functions, which define what is computed; the two differ by rounding only.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.devices import multiplies_bf16

# Of fewer rows than this, oneDNN's preparing takes longer than the product.
FEWEST_ROWS = 16  # those of the prompts that `generate` decodes together are more
# What rounding may change of results around 1, for each type that the operator is taken for.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
_FAILURES = (RuntimeError, TypeError, ValueError, LookupError)  # what an operator raises


class Linear(nn.Linear):
    """An `nn.Linear` by `linear`."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(…, C_in) -> (…, C_out), with GELU after it if asked for."""
        return linear(x, self.weight, self.bias, gelu)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """As `F.linear`, then GELU if asked for. x (…, K), weight (C, K), bias (C) -> (…, C)."""
    # A compiler comes first, as it may not know how many rows there will be.
    many = not torch.compiler.is_compiling() and x.numel() >= FEWEST_ROWS * x.shape[-1]
    if many and _by_onednn(x, weight, bias):
        return _onednn(x, weight, bias, gelu)
    return _usual(x, weight, bias, gelu)


def matmuls(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.bmm`, or `torch.baddbmm`. (N, A, K), (N, K, B), bias (B,) -> (N, A, B)."""
    if a.shape[0] == 1 and _by_onednn(a, b[0], bias):
        return _onednn(a, b[0].mT, bias, False)
    return torch.bmm(a, b) if bias is None else torch.baddbmm(bias, a, b)


@dataclass(frozen=True)
class Tried:
    """What came of trying the operator: the types it is taken for, and why, in words."""

    types: frozenset[torch.dtype]
    finding: str


@cache
def tried() -> Tried:
    """Try oneDNN's operator against torch's usual functions; when it is first needed, then known.

    Several threads may try it at once, and find the same.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return _usual_for("they are as fast on this processor")
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return _usual_for("this torch has no oneDNN")
    faults = {torch.float32: _fault(torch.float32)}
    if multiplies_bf16():
        faults[torch.bfloat16] = _fault(torch.bfloat16)
    good = [dtype for dtype, fault in faults.items() if not fault]
    said = [f"in {_name(dtype)} it {fault}" for dtype, fault in faults.items() if fault]
    if not good:
        return _usual_for(f"oneDNN's operator {faults[torch.float32]}")
    names = " and ".join(_name(dtype) for dtype in good)
    finding = "; ".join([f"oneDNN's operator in {names}: it gives torch's numbers", *said])
    return Tried(frozenset(good), finding)


def _usual_for(why: str) -> Tried:
    return Tried(frozenset(), f"torch's usual functions: {why}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN's operator applies: on a CPU, without gradients, autocast or a compiler.

    It takes columns of a matrix too, but a thousand times slower.
    """
    given = (x, weight) if bias is None else (x, weight, bias)
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.numel() > 0
        and (weight.is_contiguous() or weight.mT.is_contiguous())
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in given))
        and x.dtype in tried().types
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    """`_usual` by torch's private operator. It may be missing, and its arguments may change."""
    operator: Any = torch.ops.mkldnn._linear_pointwise
    return operator(x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")


def _usual(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


@torch.inference_mode()
def _fault(dtype: torch.dtype) -> str:
    """What is wrong with the operator for a type, to be said after its name; "" if nothing is."""
    bound = TOLERANCES[dtype]
    for given in _examples(dtype):
        wanted = _usual(*given)
        try:
            found = _onednn(*given)
        except AttributeError:
            return "is missing"
        except _FAILURES as error:
            return f"raised {type(error).__name__}"
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            return "gives another shape or type"
        if not torch.allclose(found.float(), wanted.float(), rtol=bound, atol=bound):
            return "gives other numbers"
    return ""


def _examples(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor, Tensor | None, bool]]:
    """Arguments as `linear` passes them on, of results around 1."""
    weights = _numbers(dtype, 40, 48), _numbers(dtype, 48, 40).mT  # in rows, and in columns
    biases = None, _numbers(dtype, 40)
    for weight, bias, gelu in product(weights, biases, (False, True)):
        yield _numbers(dtype, 2, 3, 48), weight / 8, bias, gelu


def _numbers(dtype: torch.dtype, *shape: int) -> Tensor:
    """Numbers between -1 and 1 without a pattern, and without moving a generator."""
    flat = torch.arange(math.prod(shape), dtype=torch.float32, device="cpu")
    return flat.square().sin().view(shape).to(dtype)
