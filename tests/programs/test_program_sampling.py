"""Programs at width n: dense and lazy matrices have one law, seeds are alone, as plain tensors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tpbench.programs import (
    Program,
    Width,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
    sample,
)
from tpbench.programs.instructions import GaussianMatrix, MatMul

HALF = Fraction(1, 2)


def tangled() -> Program:
    """W and Wᵀ, a rectangular matrix both ways, correlated vectors, scalars that are read."""
    m = Width("m", HALF)
    x, y = gaussians("x", "y", covariance=[[1, HALF], [HALF, 2]], mean=[0, 1])
    W, V = matrix("W", variance=Fraction(3, 2)), matrix("V", rows=m)
    h = apply(torch.tanh, W @ x)
    back = W.T @ (h + y)
    c = moment(back * x)
    down = apply(torch.relu, V @ back)
    out = V.T @ down - c * x + W @ back
    return program(c, a=moment(out * out), b=inner(out, y), d=moment(down), e=moment(out * h), out=out)


def z_scores(one: Tensor, other: Tensor) -> Tensor:
    error = (one.var(dim=0) / len(one) + other.var(dim=0) / len(other)).sqrt()
    return (one.mean(dim=0) - other.mean(dim=0)) / error


def test_dense_and_lazy_matrices_have_one_law() -> None:
    """At width 6 a lazy matrix has been asked in as many directions as it has, so nothing is negligible."""
    made = tangled()
    dense, lazy = (
        sample(made, 6, range(start, start + 6000), weights=w) for start, w in ((0, "dense"), (7000, "lazy"))
    )
    for name, value in dense.items():
        one, other = value.reshape(6000, -1), lazy[name].reshape(6000, -1)
        for power in (1, 2):
            assert float(z_scores(one**power, other**power).abs().max()) < 4.8, (name, power)
    one, other = dense["a"][:, None], lazy["a"][:, None]
    assert float(z_scores(one.log(), other.log()).abs()) < 4.8
    assert float(z_scores(one.log(), (1.2 * other).log()).abs()) > 4.8, "a fifth would be seen"


@pytest.mark.parametrize("weights", ["dense", "lazy"])
def test_seeds_do_not_depend_on_their_companions(weights: str) -> None:
    together = sample(tangled(), 8, [5, 1, 9], weights=weights)
    for place, seed in enumerate((5, 1, 9)):
        alone = sample(tangled(), 8, [seed], weights=weights)
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][place], rtol=1e-10, atol=1e-12)
    assert float((together["out"][0] - together["out"][1]).abs().max()) > 0.1
    counted, listed = sample(tangled(), 8, 2, weights=weights), sample(tangled(), 8, [0, 1], weights=weights)
    assert all(torch.equal(counted[name], listed[name]) for name in counted)


def test_values_are_those_of_plain_tensors() -> None:
    """Outputs are recomputed by hand, and the transpose by its law."""
    x, W = gaussian("x", mean=2), matrix("W", variance=2)
    h = W @ x
    made = program(x, h, back=W.T @ h, c=moment(h**2), y=apply(torch.tanh, h) / moment(h**2))
    out = sample(made, 16, 4)
    torch.testing.assert_close(out["c"], (out["g1"] ** 2).mean(dim=1))
    torch.testing.assert_close(out["y"], torch.tanh(out["g1"]) / out["c"][:, None])
    product = (out["back"] * out["x"]).sum(dim=1)
    torch.testing.assert_close(product, (out["g1"] ** 2).sum(dim=1))  # ⟨Wᵀh, x⟩ = ⟨h, Wx⟩


@pytest.mark.parametrize("weights", ["dense", "lazy"])
def test_variance_of_rectangular_products(weights: str) -> None:
    """W x has variance σ² E x², and Wᵀ y σ² n_rows/n_columns E y²: the definition, at any width."""
    m = Width("m", Fraction(3))
    x, y, V = gaussian("x", variance=2), gaussian("y", width=m), matrix("V", variance=HALF, rows=m)
    out = sample(program(up=moment((V @ x) ** 2), down=moment((V.T @ y) ** 2)), 4, 4000, weights=weights)
    for name, wanted in (("up", 1.0), ("down", 1.5)):
        error = float(out[name].std()) / 4000**0.5
        assert abs(float(out[name].mean()) - wanted) < 4.5 * error < 0.2, name


def test_initial_vectors_have_their_covariance_and_mean() -> None:
    covariance = np.array([[1.0, 0.9, 0.0], [0.9, 2.0, -0.5], [0.0, -0.5, 0.5]])
    names = ("x", "y", "z")
    x, y, z = gaussians(*names, covariance=covariance.tolist(), mean=[1, 0, -2])
    out = sample(program(x, y, z), 50_000, [3])
    drawn = np.stack([out[name][0].numpy() for name in names])
    assert np.abs(np.cov(drawn) - covariance).max() < 0.05
    assert np.abs(drawn.mean(axis=1) - [1, 0, -2]).max() < 0.03


def test_singular_covariances_are_drawn_exactly() -> None:
    x, y, zero = gaussians("x", "y", "zero", covariance=[[1, 2, 0], [2, 4, 0], [0, 0, 0]])
    out = sample(program(x, y, zero), 100, 3)
    torch.testing.assert_close(out["y"], 2 * out["x"], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(out["zero"], torch.zeros_like(out["zero"]), rtol=0, atol=1e-7)
    assert float(out["x"].std()) > 0.8


def test_independent_data_is_independent() -> None:
    """Vectors and matrices of different names, and the columns that lazy matrices draw, share no random numbers."""
    x, y, W, V = gaussian("x"), gaussian("y"), matrix("W"), matrix("V")
    made = program(x, y, a=W @ x, b=V @ x, c=W.T @ x)
    for weights in ("dense", "lazy"):
        out = sample(made, 30_000 if weights == "lazy" else 2000, [1], weights=weights)
        correlations = np.corrcoef(np.stack([value[0].numpy() for value in out.values()]))
        size = next(iter(out.values())).shape[1]
        assert np.abs(correlations - np.eye(5)).max() < 4.5 / size**0.5, weights


def test_constants_and_functions_that_are_constant() -> None:
    x = gaussian("x")
    made = program(
        c=moment(lambda s: s * 2, constant(3, power=Fraction(-1, 2))),
        one=apply(lambda v: 1.0, x),
        m=moment(lambda v: 2, x),
    )
    out = sample(made, 16, 2)
    assert out["c"].tolist() == [1.5, 1.5]
    assert out["one"].tolist() == [[1.0] * 16] * 2
    assert out["m"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("weights", ["dense", "lazy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(weights: str, dtype: torch.dtype) -> None:
    out = sample(tangled(), 6, 2, weights=weights, dtype=dtype)
    assert {value.dtype for value in out.values()} == {dtype}
    assert {name: tuple(value.shape) for name, value in out.items() if value.ndim > 1} == {"out": (2, 6)}


def test_everything_is_on_the_device_that_was_asked_for() -> None:
    out = sample(tangled(), 6, 2, device="meta")
    assert {str(value.device) for value in out.values()} == {"meta"}
    assert out["out"].shape == (2, 6)


def test_functions_of_the_caller_see_no_value_that_others_read() -> None:
    """The outputs of one sampling are not changed by the next, and identical programs give identical values."""
    x = gaussian("x")
    made = program(x, y=apply(lambda v: v, x))
    first = sample(made, 5, 2)
    kept = {name: value.clone() for name, value in first.items()}
    sample(made, 5, 2)
    assert all(torch.equal(first[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seeds": 0}, "at least one seed"),
        ({"seeds": []}, "at least one seed"),
        ({"weights": "thin"}, "dense or lazy, got 'thin'"),
        ({"width": 5}, "take a multiple of 2"),
        ({"width": 0}, "neurons"),
        ({"width": 4.5}, "the width is 4.5"),
        ({"seeds": 2.5}, "the number of seeds is 2.5"),
        ({"seeds": [0, 1.5]}, "the seed is 1.5"),
    ],
)
def test_refusals(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sample(tangled(), **{"width": 4, "seeds": 1, **arguments})


def test_large_widths_are_lazy() -> None:
    x, W = gaussian("x"), matrix("W")
    out = sample(program(m=moment((W.T @ apply(torch.tanh, W @ x)) * x)), 2**17, 1, weights="lazy")
    wanted = float(sample(program(m=moment(lambda v: 1 - torch.tanh(v) ** 2, x)), 2**17, 1)["m"])
    assert abs(float(out["m"]) - wanted) < 0.02, "E x Wᵀ tanh(W x) = E tanh′ by Stein's identity"


def test_one_matrix_is_one_matrix() -> None:
    """Two programs' worth of products by one name are by one matrix; another name is another one."""
    x = gaussian("x")
    W, V = matrix("W"), matrix("V")
    same, other = sample(program(a=W @ x + W @ (-x), b=W @ x - V @ x), 20, 1).values()
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-12)
    assert float(other.abs().max()) > 0.1
    made = program(combination([(1, W @ x), (1, V @ x)]))
    assert sum(isinstance(b, GaussianMatrix) for b in made.bindings) == 2
    assert sum(isinstance(b, MatMul) for b in made.bindings) == 2


def test_whole_numbers_of_numpy_are_whole() -> None:
    x = gaussian("x")
    found = sample(program(x), np.int64(4), np.int64(2))["x"]  # type: ignore[arg-type]
    torch.testing.assert_close(found, sample(program(x), 4, 2)["x"])
