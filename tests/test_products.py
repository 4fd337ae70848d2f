"""Products of matrices by oneDNN against torch's usual ones, which define them."""

import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from amg_cli.cli.main import main
from amg_cli.models import products
from amg_cli.models.products import Linear, linear, matmuls
from tests.conftest import REPOSITORY

needs_onednn = pytest.mark.skipif(
    not products.tried().types, reason="this torch, or processor, has no oneDNN operator to test"
)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def calls(monkeypatch):
    """How often oneDNN's operator was called."""
    made = []
    operator = products._onednn

    def counted(*args):
        made.append(args)
        return operator(*args)

    monkeypatch.setattr(products, "_onednn", counted)
    return made


@pytest.fixture
def untried(monkeypatch):
    """A function that puts another operator in oneDNN's place, which has not been tried."""

    def replace(operator):
        monkeypatch.setattr(products, "_onednn", operator)
        products.tried.cache_clear()

    monkeypatch.setattr(products.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(products, "multiplies_bf16", lambda: False)
    yield replace
    products.tried.cache_clear()


def missing(*_):
    return torch.ops.mkldnn._there_is_no_such_operator()


def raising(*_):
    raise RuntimeError("could not create a primitive")


def refusing(*_):
    raise TypeError("_linear_pointwise() takes 7 positional arguments but 6 were given")


def of_another_type(x, weight, bias, gelu):
    return products._usual(x, weight, bias, gelu).double()


def without_bias(x, weight, bias, gelu):
    return products._usual(x, weight, None, gelu)


def with_another_gelu(x, weight, bias, gelu):
    y = F.linear(x, weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


def of_rows_only(x, weight, bias, gelu):
    return products._usual(x, weight.contiguous().view(weight.mT.shape).mT, bias, gelu)


def not_a_number(x, weight, bias, gelu):
    return products._usual(x, weight, bias, gelu) * torch.nan


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (2, 3, 7, 16), (15, 16), (1, 16), (4096, 16)])
def test_linear_is_torchs(calls, shape, with_bias, gelu):
    x, weight = drawn(*shape), drawn(24, 16)
    bias = drawn(24) if with_bias else None
    wanted = F.linear(x, weight, bias)
    wanted = F.gelu(wanted) if gelu else wanted
    torch.testing.assert_close(linear(x, weight, bias, gelu), wanted, rtol=1e-5, atol=1e-5)
    assert len(calls) == (x.numel() >= 16 * 16)  # of few rows it is slower


@needs_onednn
@torch.inference_mode()
def test_inputs_may_be_views(calls):
    x, weight = drawn(4, 16, 5).mT, drawn(16, 24).T
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
def test_without_the_operator_the_results_are_the_same(untried):
    x, weight, bias = drawn(1, 5, 16), drawn(24, 16), drawn(24)
    fast = linear(x, weight, bias, gelu=True), matmuls(x, weight.T[None], bias)
    untried(missing)
    plain = linear(x, weight, bias, gelu=True), matmuls(x, weight.T[None], bias)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("operator", "fault"),
    [
        (missing, "is missing"),
        (raising, "raised RuntimeError"),
        (refusing, "raised TypeError"),
        (of_another_type, "gives another shape or type"),
        (without_bias, "gives other numbers"),
        (with_another_gelu, "gives other numbers"),
        (of_rows_only, "gives other numbers"),
        (not_a_number, "gives other numbers"),
    ],
)
def test_an_operator_that_fails_when_it_is_tried_is_not_taken(operator, fault, untried):
    x, weight, bias = drawn(5, 16), drawn(24, 16), drawn(24)
    untried(operator)
    assert torch.equal(linear(x, weight, bias, gelu=True), F.gelu(F.linear(x, weight, bias)))
    assert torch.equal(matmuls(x[None], weight.T[None])[0], torch.mm(x, weight.T))
    assert products.tried().finding == f"torch's usual functions: oneDNN's operator {fault}"


@torch.inference_mode()
def test_it_is_taken_for_the_types_that_it_is_right_for(untried, monkeypatch):
    monkeypatch.setattr(products, "multiplies_bf16", lambda: True)

    def single_only(x, weight, bias, gelu):
        return products._usual(x, weight, bias, gelu) + (1 if x.dtype == torch.bfloat16 else 0)

    untried(single_only)
    assert products.tried().types == {torch.float32}
    assert products.tried().finding == (
        "oneDNN's operator in float32: it gives torch's numbers; in bfloat16 it gives other numbers"
    )
    x, weight = drawn(5, 16).bfloat16(), drawn(24, 16).bfloat16()
    assert torch.equal(linear(x, weight), F.linear(x, weight))


@torch.inference_mode()
def test_it_is_tried_once_and_not_before_it_is_needed(untried):
    made = []

    def counted(*args):
        made.append(args)
        return products._usual(*args)

    untried(counted)
    with torch.autocast("cpu", torch.bfloat16):
        linear(drawn(20, 16), drawn(24, 16))
    assert not made
    linear(drawn(20, 16), drawn(24, 16))
    after_one = len(made)
    linear(drawn(20, 16), drawn(24, 16))
    assert len(made) == after_one + 1 > 2


def test_trying_it_moves_no_generator_and_importing_does_not_try_it():
    code = (
        "import torch, amg_cli.models.products as products;"
        "assert products.tried.cache_info().currsize == 0; before = torch.get_rng_state();"
        "products.tried(); assert torch.equal(torch.get_rng_state(), before)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=120)


@pytest.mark.parametrize(
    ("machine", "onednn", "finding"),
    [
        ("aarch64", True, "torch's usual functions: they are as fast on this processor"),
        ("x86_64", False, "torch's usual functions: this torch has no oneDNN"),
    ],
)
def test_where_it_would_not_help_it_is_not_tried(machine, onednn, finding, untried, monkeypatch):
    untried(raising)
    monkeypatch.setattr(products.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    assert products.tried() == products.Tried(frozenset(), finding)


def test_the_doctor_says_which_is_taken_and_why(untried):
    untried(raising)
    (line,) = [
        line
        for line in CliRunner().invoke(main, ["doctor"]).output.splitlines()
        if line.startswith("products ")
    ]
    assert line.split(maxsplit=1)[1] == (
        "torch's usual functions: oneDNN's operator raised RuntimeError"
    )
