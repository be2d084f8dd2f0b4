"""Batch normalisation: one-dimensional integrals, plain sampling with autograd's Jacobian, laws, what is infinite."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from kernel_cases import draw
from torch import Tensor

from tpbench.architecture import STATISTICS, BatchNormalised
from tpbench.limits.gaussian import activation
from tpbench.limits.kernels import Kernels, architecture_kernels
from tpbench.limits.kernels.batch import batch_kernels, normalised

Agree = Callable[..., None]
EXAMPLES = 7
DEPTH_ONE = {"depth": 1, "sigma_w": 1.3, "sigma_b": 0.4}
FEW = {"replicates": 16, "points": 1 << 12}


def centred(kernel: Tensor) -> Tensor:
    along = torch.eye(len(kernel), dtype=torch.float64, device="cpu") - 1 / len(kernel)
    return along @ kernel @ along


def first_layer(x: Tensor, of: BatchNormalised) -> Tensor:
    return of.sigma_w**2 * x @ x.T / x.shape[1] + of.sigma_b**2


def times(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """t, its quadrature weight times det(1 + 2tK)^(-1/2), and K (1 + 2tK)^(-1) at every t.

    The last two make E exp(-t |h|²) g(h) the mean of g under another Gaussian; ∫ dt t^(k-1)/Γ(k) exp(-t |h|²) is
    |h|^(-2k). With t = exp(y) the integrand is analytic and dies out on both sides: the trapezoidal rule is exact.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(0.0)
    y = torch.linspace(-45.0, 45.0, 1200, dtype=torch.float64, device="cpu")
    t = y.exp() / values.sum()
    shrunk = values / (1 + 2 * t[:, None] * values)
    weight = t * (y[1] - y[0]) * torch.exp(-0.5 * torch.log1p(2 * t[:, None] * values).sum(dim=1))
    return t, weight, (vectors * shrunk[:, None, :]) @ vectors.T


def linear_kernels(x: Tensor, of: BatchNormalised) -> Kernels:
    """phi = identity, depth 1: E ĥĥᵀ and E JΘJᵀ by moments of orders 2 and 4 over |h|², |h|⁴ and |h|⁶."""
    count = len(x)
    first = first_layer(x, of)
    theta = centred(first)
    t, weight, shrunk = times(theta)
    nngp = of.sigma_w**2 * count * torch.einsum("t,tij->ij", weight, shrunk) + of.sigma_b**2
    inverse = weight.sum()
    second = torch.einsum("t,tij->ij", weight * t, shrunk)
    pulled = shrunk @ theta
    traces = pulled.diagonal(dim1=1, dim2=2).sum(dim=1)
    fourth = torch.einsum("t,tij->ij", weight * t**2 / 2 * traces, shrunk)
    fourth = fourth + torch.einsum("t,tij->ij", weight * t**2, pulled @ shrunk)
    moved = count * (inverse * theta - theta @ second - second @ theta + fourth)
    return Kernels(nngp=nngp, ntk=nngp + of.sigma_w**2 * moved)


def sampled(
    nngp: Tensor, ntk: Tensor, name: str, draws: int = 20_000, *, constant: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E φφᵀ and E (DJ) Θ (DJ)ᵀ over plain draws of h, the Jacobian by autograd; with their standard errors."""
    phi = activation(name).phi

    def layer(h: Tensor) -> Tensor:
        measured = h.detach() if constant else h
        return phi((h - measured.mean()) / measured.std(correction=0))

    root = torch.linalg.cholesky(nngp + 1e-12 * torch.eye(len(nngp), dtype=torch.float64, device="cpu"))
    h = draw(draws, len(nngp), seed=5) @ root.T
    active = torch.func.vmap(layer)(h)
    jacobian = torch.func.vmap(torch.func.jacrev(layer))(h)
    found = [active[:, :, None] * active[:, None, :], jacobian @ ntk @ jacobian.mT]
    means = [one.mean(dim=0) for one in found]
    errors = [one.std(dim=0) / sqrt(draws) for one in found]
    return means[0], means[1], errors[0], errors[1]


def errors_of(found: Kernels) -> Kernels:
    assert found.error is not None
    return found.error


def within(found: Tensor, expected: Tensor, error: Tensor, count: float = 5.0) -> bool:
    return bool(((found - expected).abs() <= count * error).all())


def test_a_linear_layer_has_integrals_in_one_dimension() -> None:
    x = draw(EXAMPLES, 9)
    of = BatchNormalised(activation="identity", **DEPTH_ONE)
    found, expected = batch_kernels(of, x, **FEW), linear_kernels(x, of)
    error = errors_of(found)
    assert within(found.nngp, expected.nngp, error.nngp)
    assert within(found.ntk, expected.ntk, error.ntk)
    # The errors are small enough to mean something, and not so large that anything would pass.
    assert float((error.nngp / expected.nngp.diagonal().mean()).max()) < 2e-3
    assert float((error.ntk / expected.ntk.diagonal().mean()).max()) < 5e-3
    typical = ((found.ntk - expected.ntk) / error.ntk).square().mean().sqrt()
    assert 0.3 < float(typical) < 2.0


@pytest.mark.parametrize("name", ["relu", "leaky-relu", "abs"])
def test_a_homogeneous_activation_has_one_as_well(name: str) -> None:
    """phi(h/s) = phi(h)/s, so that E φφᵀ is an integral of the activation's own kernel (Yang et al. 2019)."""
    x = draw(EXAMPLES, 9)
    of = BatchNormalised(activation=name, **DEPTH_ONE)
    _, weight, shrunk = times(centred(first_layer(x, of)))
    spread = shrunk.diagonal(dim1=1, dim2=2)
    dual = activation(name).dual(spread[:, :, None], shrunk, spread[:, None, :])
    expected = of.sigma_w**2 * EXAMPLES * torch.einsum("t,tij->ij", weight, dual) + of.sigma_b**2
    found = batch_kernels(of, x, **FEW)
    assert within(found.nngp, expected, errors_of(found).nngp)


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_a_layer_is_its_expectation_over_plain_draws(name: str, statistics: str) -> None:
    first = first_layer(draw(EXAMPLES, 9), BatchNormalised(sigma_b=0.3))
    theta = first + draw(EXAMPLES, 4, seed=3) @ draw(EXAMPLES, 4, seed=3).T / 4
    same, moved, same_error, moved_error = sampled(first, theta, name, constant=statistics == "constant")
    normals = draw(EXAMPLES - 1, 1 << 18, seed=8)
    found = normalised(first, theta, activation(name), normals, statistics=statistics)
    assert within(found[0], same, same_error)
    assert within(found[1], moved, moved_error)


def test_statistics_that_were_constants_are_noticed() -> None:
    """The rival of the tangent kernel: the mean and s taken as numbers, Θ_ij E φ'φ'/s²; or s alone as one."""
    first = first_layer(draw(EXAMPLES, 9), BatchNormalised(sigma_b=0.3))
    _, moved, _, error = sampled(first, first, "tanh")
    h = draw(200_000, EXAMPLES, seed=8) @ torch.linalg.cholesky(first).T
    h = h - h.mean(dim=1, keepdim=True)
    square = h.square().mean(dim=1, keepdim=True)
    slope = activation("tanh").derivative(h / square.sqrt())
    slopes = (slope / square).T @ slope / len(h)
    assert not within(first * slopes, moved, error, count=30.0)
    assert not within(centred(first) * slopes, moved, error, count=30.0)


def test_only_the_shape_of_the_batch_matters(agree: Agree) -> None:
    """BN undoes any scale of its inputs and any constant that all examples have."""
    x = draw(EXAMPLES, 9)
    of = BatchNormalised(depth=2, activation="erf", sigma_w=1.3)
    found, scaled = batch_kernels(of, x, **FEW), batch_kernels(of, 5.0 * x, **FEW)
    agree(scaled.nngp, found.nngp, 1e-10)
    agree(scaled.ntk, found.ntk, 1e-10)
    normals = draw(EXAMPLES - 1, 1 << 10, seed=8)
    kernel = first_layer(x, of)
    for one, other in zip(
        normalised(kernel, kernel, activation("erf"), normals),
        normalised(kernel + 3.0, kernel + 0.5, activation("erf"), normals),
        strict=True,
    ):
        agree(other, one, 1e-9)


def test_opposite_draws_count_alike(agree: Agree) -> None:
    """-h is as likely as h, and every point stands for both, also where phi is neither even nor odd."""
    kernel, normals = first_layer(draw(EXAMPLES, 9), BatchNormalised()), draw(EXAMPLES - 1, 1 << 8, seed=8)
    for name in ("relu", "gelu", "tanh", "cos"):
        sides = [normalised(kernel, kernel, activation(name), side) for side in (normals, -normals)]
        for one, other in zip(*sides, strict=True):
            agree(other, one, 1e-11)


def test_examples_may_come_in_any_order() -> None:
    x, order = draw(EXAMPLES, 9), [3, 0, 6, 1, 5, 2, 4]
    of = BatchNormalised(depth=2, activation="relu", sigma_w=1.3, sigma_b=0.4)
    found, moved = batch_kernels(of, x, **FEW), batch_kernels(of, x[order], **FEW)
    for name in ("nngp", "ntk"):
        one, other = getattr(found, name)[order][:, order], getattr(moved, name)
        error = getattr(errors_of(found), name)[order][:, order].hypot(getattr(errors_of(moved), name))
        assert within(other, one, error)
        assert torch.equal(other, other.mT)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_errors_cover_other_points(name: str) -> None:
    x = draw(EXAMPLES, 9)
    of = BatchNormalised(depth=2, activation=name, sigma_w=1.3, sigma_b=0.4)
    coarse, fine = batch_kernels(of, x, replicates=16, points=1 << 9), batch_kernels(of, x, **FEW)
    for which in ("nngp", "ntk"):
        error = getattr(errors_of(coarse), which)
        assert within(getattr(coarse, which), getattr(fine, which), error.hypot(getattr(errors_of(fine), which)))
        assert float(getattr(errors_of(fine), which).mean()) < 0.5 * float(error.mean())


def test_two_examples_become_plus_and_minus_one(agree: Agree) -> None:
    """ĥ = (1, -1) or (-1, 1) whatever the weights: nothing below is learned, nothing of the inputs is left."""
    of = BatchNormalised(activation="softplus", **DEPTH_ONE)
    phi = activation("softplus").phi(torch.tensor([1.0, -1.0], dtype=torch.float64, device="cpu"))
    both = phi.square().mean()
    expected = of.sigma_w**2 * torch.stack([both, phi.prod(), phi.prod(), both]).reshape(2, 2) + of.sigma_b**2
    found = architecture_kernels(of, draw(2, 5))
    agree(found.nngp, expected, 1e-12)
    agree(found.ntk, expected, 1e-12)


def test_dispatch_joins_the_batch_and_carries_errors(agree: Agree) -> None:
    x = draw(4, 5).to(torch.float32)
    of = BatchNormalised(depth=1, activation="erf")
    found, direct = architecture_kernels(of, x), batch_kernels(of, x.to(torch.float64))
    assert found.nngp.dtype == torch.float64
    agree(found.ntk, direct.ntk, 1e-14)
    agree(errors_of(found).ntk, errors_of(direct).ntk, 1e-14)
    with pytest.raises(ValueError, match=r"couples all examples .* join them to one batch"):
        architecture_kernels(of, x, x)


def test_statistics_that_are_constants_have_an_infinite_kernel_of_two_examples() -> None:
    """Differentiated, they take away the only direction that h has; a number s leaves E 1/s² as it is."""
    of, x = BatchNormalised(depth=1, activation="softplus", statistics="constant"), draw(2, 5)
    for batch in (x, torch.stack([x[0], -x[0]])):
        with pytest.raises(ValueError, match=r"infinite here.* only 1 free"):
            batch_kernels(of, batch)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (draw(3, 5), "infinite here.* only 2 free"),
        (draw(6, 2), "infinite here.* only 2 free"),
        (draw(1, 5), "all of its examples are the same"),
        (draw(1, 5).expand(4, 5), "all of its examples are the same"),
    ],
)
def test_what_has_no_limit_is_refused(x: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        architecture_kernels(BatchNormalised(depth=1), x)
