"""Products of matrices by oneDNN against torch's usual ones, which define them."""

import pytest
import torch
from torch.nn import functional as F

from amg_cli.models import products
from amg_cli.models.products import Linear, linear, matmuls

needs_onednn = pytest.mark.skipif(
    products._ONEDNN is None, reason="this torch, or processor, has no oneDNN operator to test"
)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def calls(monkeypatch):
    """How often oneDNN's operator was called."""
    made = []
    operator = products._ONEDNN

    def counted(*args):
        made.append(args)
        return operator(*args)

    monkeypatch.setattr(products, "_ONEDNN", counted)
    return made


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 7, 16), (1, 16), (4096, 16)])
def test_linear_is_torchs(calls, shape, with_bias, gelu):
    x, weight = drawn(*shape), drawn(24, 16)
    bias = drawn(24) if with_bias else None
    wanted = F.linear(x, weight, bias)
    wanted = F.gelu(wanted) if gelu else wanted
    torch.testing.assert_close(linear(x, weight, bias, gelu), wanted, rtol=1e-5, atol=1e-5)
    assert len(calls) == 1


@needs_onednn
@torch.inference_mode()
def test_inputs_may_be_views(calls):
    x, weight = drawn(3, 16, 5).mT, drawn(16, 24).T
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5)
    a, b = drawn(1, 9, 6).mT, drawn(1, 11, 9).mT
    bias = drawn(11)
    torch.testing.assert_close(matmuls(a, b), torch.bmm(a, b), rtol=1e-5, atol=1e-5)
    wanted = torch.baddbmm(bias, a, b)
    torch.testing.assert_close(matmuls(a, b, bias), wanted, rtol=1e-5, atol=1e-5)
    assert len(calls) == 3


@torch.inference_mode()
def test_many_matrices_are_torchs():
    a, b, bias = drawn(3, 6, 9), drawn(3, 9, 11), drawn(11)
    torch.testing.assert_close(matmuls(a, b), torch.bmm(a, b))
    torch.testing.assert_close(matmuls(a, b, bias), torch.baddbmm(bias, a, b))


@needs_onednn
def test_it_is_not_called_where_it_does_not_apply(calls):
    layer = Linear(16, 24)
    layer(drawn(5, 16)).sum().backward()
    assert layer.weight.grad is not None
    layer.weight.requires_grad_(False)
    layer.bias.grad = None
    layer(drawn(5, 16)).sum().backward()
    assert layer.bias.grad is not None
    with torch.inference_mode():
        assert layer(drawn(0, 16)).shape == (0, 24)
        columns = drawn(9, 32)[:, 8:24]
        assert torch.equal(linear(drawn(5, 16), columns), F.linear(drawn(5, 16), columns))
        assert layer.double()(drawn(5, 16).double()).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert layer.float()(drawn(5, 16)).dtype == torch.bfloat16
    assert not calls


@torch.inference_mode()
def test_without_the_operator_the_results_are_the_same(monkeypatch):
    x, weight, bias = drawn(1, 5, 16), drawn(24, 16), drawn(24)
    fast = linear(x, weight, bias, gelu=True), matmuls(x, weight.T[None], bias)
    monkeypatch.setattr(products, "_ONEDNN", None)
    plain = linear(x, weight, bias, gelu=True), matmuls(x, weight.T[None], bias)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
