"""What the kernels of an architecture must obey: symmetries, special cases, one architecture as another."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, sqrt

import pytest
import torch
from kernel_cases import cases, draw, inputs_for

from tpbench.architecture import Attention, Convolution, LayerNormalised, Perceptron, Recurrent, Residual
from tpbench.limits.kernels import Kernels, architecture_kernels, architectures, kernels

Agree = Callable[..., None]
CASES = cases("erf")
both = pytest.mark.parametrize("name", CASES)
SIGMAS = {"sigma_w": 1.3, "sigma_b": 0.4}


def same(agree: Agree, found: Kernels, expected: Kernels, rtol: float = 1e-12) -> None:
    agree(found.nngp, expected.nngp, rtol)
    agree(found.ntk, expected.ntk, rtol)


def unlike(found: Kernels, expected: Kernels, by: float = 0.01) -> bool:
    """Whether both kernels differ by a share that no test would overlook."""
    pairs = ((found.nngp, expected.nngp), (found.ntk, expected.ntk))
    return all(float((a - b).abs().max() / b.abs().max()) > by for a, b in pairs)


@both
def test_kernels_are_symmetric_and_positive_definite(agree: Agree, name: str) -> None:
    found = architecture_kernels(CASES[name], inputs_for(CASES[name], 5))
    for kernel in (found.nngp, found.ntk):
        agree(kernel, kernel.mT, 1e-14)
        assert float(torch.linalg.eigvalsh(kernel)[0]) > 0
    # Each layer adds its own positive semidefinite share to the tangent kernel; the read-out's is the NNGP.
    assert float(torch.linalg.eigvalsh(found.ntk - found.nngp)[0]) > 0


@both
@pytest.mark.parametrize("numbers", [1, 40])
def test_tiles_and_cross_kernels_are_blocks_of_the_whole(
    agree: Agree, monkeypatch: pytest.MonkeyPatch, name: str, numbers: int
) -> None:
    of = CASES[name]
    x = inputs_for(of, 5)
    whole = architecture_kernels(of, x)
    monkeypatch.setattr(architectures, "NUMBERS", numbers)
    same(agree, architecture_kernels(of, x), whole)
    cross = architecture_kernels(of, x[:2], x[1:])
    same(agree, cross, Kernels(nngp=whole.nngp[:2, 1:], ntk=whole.ntk[:2, 1:]))


@both
def test_only_inner_products_of_channels_matter(agree: Agree, name: str) -> None:
    of = CASES[name]
    x = inputs_for(of, 3)
    turned = x @ torch.linalg.qr(draw(x.shape[-1], x.shape[-1], seed=9))[0]
    same(agree, architecture_kernels(of, turned), architecture_kernels(of, x))


@both
def test_inputs_of_any_dtype_are_computed_in_float64_and_left_alone(agree: Agree, name: str) -> None:
    of = CASES[name]
    x = inputs_for(of, 3).to(torch.float32).requires_grad_()
    before = x.detach().clone()
    found = architecture_kernels(of, x)
    assert found.nngp.dtype == found.ntk.dtype == torch.float64
    assert not found.nngp.requires_grad
    assert torch.equal(x, before)
    same(agree, found, architecture_kernels(of, x.detach().to(torch.float64)))


LINEAR = {name: of for name, of in cases("identity").items() if name not in ("layernorm", "attention-tied")}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_network_counts_its_layers(agree: Agree, name: str) -> None:
    """f is a sum of products of weights. Σ_w ∂_w f ∂_w f' counts those of a product, as the derivative of the NNGP by
    the logarithm of all variances does; this holds for tied weights as well."""
    of = LINEAR[name]
    x = inputs_for(of, 3)
    step = 1e-3

    def nngp(steps: int) -> torch.Tensor:
        by = exp(steps * step / 2)
        return architecture_kernels(replace(of, sigma_w=of.sigma_w * by, sigma_b=of.sigma_b * by), x).nngp

    counted = (8 * (nngp(1) - nngp(-1)) - (nngp(2) - nngp(-2))) / (12 * step)
    agree(architecture_kernels(of, x).ntk, counted, 1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_perceptron_has_the_kernels_of_the_fast_engine(agree: Agree, activation: str) -> None:
    x1, x2 = draw(4, 5), draw(3, 5, seed=1)
    of = Perceptron(depth=3, activation=activation, **SIGMAS)
    for other in (None, x2):
        same(agree, architecture_kernels(of, x1, other), kernels(x1, other, depth=3, activation=activation, **SIGMAS))


def test_relu_at_correlation_one_is_exact(agree: Agree) -> None:
    """An example with itself has E relu² = K/2 and E relu'² = 1/2; a last bit of the correlation would show as 1e-8."""
    x = draw(60, 333)
    found = architecture_kernels(Perceptron(depth=2, sigma_w=1.3), x)
    power = 1.3**2 * x.square().mean(dim=1) * (1.3**2 / 2) ** 2
    agree(found.nngp.diagonal(), power, 1e-13)
    agree(found.ntk.diagonal(), 3 * power, 1e-13)


def test_a_residual_network_without_branches_is_a_shallow_one(agree: Agree) -> None:
    x = draw(4, 5)
    shallow = architecture_kernels(Perceptron(depth=1, **SIGMAS), x)
    same(agree, architecture_kernels(Residual(depth=4, branch=0.0, **SIGMAS), x), shallow)
    same(agree, architecture_kernels(Residual(depth=1, **SIGMAS), x), shallow)
    assert unlike(architecture_kernels(Residual(depth=4, branch=0.5, **SIGMAS), x), shallow)


def test_layer_norm_of_a_relu_network_is_the_network_on_the_sphere(agree: Agree) -> None:
    """With σ_w² = 2 relu keeps the variance of inputs of variance 1, and there is nothing to normalise."""
    x = draw(4, 5)
    sphere = x / x.norm(dim=1, keepdim=True) * sqrt(5 / 2)
    plain = architecture_kernels(Perceptron(depth=3, sigma_w=sqrt(2)), sphere)
    normalised = LayerNormalised(depth=3, sigma_w=sqrt(2))
    same(agree, architecture_kernels(normalised, x), plain, 1e-11)
    same(agree, architecture_kernels(normalised, 7.0 * x), plain, 1e-11)
    assert unlike(architecture_kernels(Perceptron(depth=3, sigma_w=sqrt(2)), x), plain)


def test_a_recurrent_network_of_one_time_is_a_perceptron(agree: Agree) -> None:
    x = draw(4, 5)
    plain = architecture_kernels(Perceptron(depth=1, activation="erf", **SIGMAS), x)
    for readout in ("mean", "last"):
        for tied in (True, False):
            of = Recurrent(activation="erf", readout=readout, tied=tied, **SIGMAS)
            same(agree, architecture_kernels(of, x[:, None]), plain)


def test_tied_weights_are_seen_between_times_only(agree: Agree) -> None:
    """The last time meets the last time by paths of equal length, each weight with itself: as if all were fresh."""
    x = draw(4, 5, 3)

    def at(readout: str, *, tied: bool) -> Kernels:
        of = Recurrent(activation="erf", readout=readout, tied=tied, sigma_w=1.5, sigma_b=0.2)
        return architecture_kernels(of, x)

    same(agree, at("last", tied=True), at("last", tied=False))
    assert unlike(at("mean", tied=True), at("mean", tied=False), by=0.1)


def test_a_linear_recurrent_network_adds_up_its_times() -> None:
    """With the identity, σ_w = 1 and the same input u at all times h_T = Σ_t W^(T-t) U u: K = T |u|²/d, and Θ counts
    the weights that each term has passed, U and the read-out included."""
    length = 5
    x = draw(1, 1, 3).expand(1, length, 3)
    found = architecture_kernels(Recurrent(activation="identity", readout="last"), x)
    power = float(x[0, 0] @ x[0, 0]) / 3
    assert float(found.nngp) == pytest.approx(length * power, rel=1e-12)
    assert float(found.ntk) == pytest.approx(power * sum(passed + 2 for passed in range(length)), rel=1e-12)


def test_a_filter_of_one_pixel_is_a_perceptron_at_every_position(agree: Agree) -> None:
    x = draw(3, 4, 5)
    pixels = architecture_kernels(Perceptron(depth=2, activation="erf", **SIGMAS), x.flatten(0, 1))
    by_pair = [k.reshape(3, 4, 3, 4).transpose(1, 2) for k in (pixels.nngp, pixels.ntk)]

    def found(readout: str) -> Kernels:
        return architecture_kernels(Convolution(activation="erf", filter=(1,), readout=readout, **SIGMAS), x)

    aligned = [k.diagonal(dim1=2, dim2=3).mean(dim=-1) for k in by_pair]
    same(agree, found("flatten"), Kernels(*aligned))
    same(agree, found("mean"), Kernels(*(k.mean(dim=(2, 3)) for k in by_pair)))


@pytest.mark.parametrize("padding", ["circular", "zero"])
@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_images_of_one_row_are_sequences(agree: Agree, padding: str, readout: str) -> None:
    x = draw(3, 6, 2)
    of = Convolution(activation="erf", filter=(5,), readout=readout, padding=padding, **SIGMAS)
    expected = architecture_kernels(of, x)
    row = replace(of, filter=(1, 5))
    same(agree, architecture_kernels(row, x[:, None]), expected)
    same(agree, architecture_kernels(replace(of, filter=(5, 1)), x[:, :, None]), expected)


@pytest.mark.parametrize("filter", [(3,), (3, 3)])
def test_circular_convolutions_know_no_place(agree: Agree, filter: tuple[int, ...]) -> None:
    x = draw(3, *([4] * len(filter)), 2)
    moved = x.roll([1] * len(filter), dims=list(range(1, 1 + len(filter))))
    of = Convolution(depth=3, activation="erf", filter=filter, **SIGMAS)
    pooled = replace(of, readout="mean")
    same(agree, architecture_kernels(pooled, x, moved), architecture_kernels(pooled, x))
    same(agree, architecture_kernels(of, moved), architecture_kernels(of, x))
    assert unlike(architecture_kernels(of, x, moved), architecture_kernels(of, x))
    edged = replace(of, padding="zero")
    assert unlike(architecture_kernels(edged, moved), architecture_kernels(edged, x), by=1e-3)


def test_positions_that_are_alike_make_flatten_and_pooling_alike(agree: Agree) -> None:
    """With one position all the same; with different ones pooling averages them out, and its kernel is smaller."""
    x = draw(3, 1, 4)
    of = Convolution(activation="erf", readout="mean", **SIGMAS)
    flat = replace(of, readout="flatten")
    constant = x.expand(3, 5, 4)
    same(agree, architecture_kernels(of, constant), architecture_kernels(flat, constant))
    various = draw(3, 5, 4)
    pooled, flattened = architecture_kernels(of, various), architecture_kernels(flat, various)
    assert bool((pooled.nngp.diagonal() < flattened.nngp.diagonal()).all())
    assert bool((pooled.ntk.diagonal() < flattened.ntk.diagonal()).all())


def test_a_filter_wider_than_the_circle_goes_round_it(agree: Agree) -> None:
    """With 3 positions and 9 offsets every position is met three times: as with 3 offsets."""
    x = draw(3, 3, 4)
    of = Convolution(activation="erf", filter=(9,), **SIGMAS)
    same(agree, architecture_kernels(of, x), architecture_kernels(replace(of, filter=(3,)), x))


@pytest.mark.parametrize("tied", [True, False])
def test_attention_to_one_token_is_a_residual_network(agree: Agree, tied: bool) -> None:
    """The token attends to itself with weight 1: h + lin_O(lin_V(phi(h))), linear layers in a row without phi."""
    x = draw(4, 5)
    of = Attention(depth=1, activation="erf", tied=tied, sigma_w=1.3)
    found = architecture_kernels(of, x[:, None])
    square = 1.3**2
    plain = architecture_kernels(Perceptron(depth=1, activation="erf", sigma_w=1.3), x)
    first = square * x @ x.T / 5
    nngp = first + square * plain.nngp
    ntk = first + square * plain.nngp + square * plain.ntk
    # What is left is a layer of erf and the read-out.
    scale = ((1 + 2 * nngp.diagonal())[:, None] * (1 + 2 * nngp.diagonal())).sqrt()
    last = 2 / torch.pi * torch.asin(2 * nngp / scale)
    slope = 4 / torch.pi / (scale.square() - 4 * nngp.square()).sqrt()
    same(agree, found, Kernels(nngp=square * last, ntk=square * (last + ntk * slope)))


def test_attention_does_not_know_the_order_of_tokens(agree: Agree) -> None:
    x = draw(3, 4, 5)
    of = Attention(depth=2, activation="erf", **SIGMAS)
    shuffled = x[:, [2, 0, 3, 1]]
    same(agree, architecture_kernels(of, x, shuffled), architecture_kernels(of, x))
    assert unlike(architecture_kernels(replace(of, tied=False), x), architecture_kernels(of, x), by=1e-3)


def test_equal_queries_and_keys_of_equal_tokens_are_uniform_attention(agree: Agree) -> None:
    """Logits that are all alike leave the uniform softmax, whatever their size."""
    x = draw(3, 1, 5).expand(3, 4, 5)
    of = Attention(depth=2, activation="erf", **SIGMAS)
    same(agree, architecture_kernels(of, x), architecture_kernels(replace(of, tied=False), x))


@pytest.mark.parametrize(
    ("of", "shape", "words"),
    [
        (Perceptron(), (3, 4, 5), r"Perceptron reads inputs of shape \(example, feature\).*got \(3, 4, 5\)"),
        (Recurrent(), (3, 4), r"Recurrent reads inputs of shape \(example, time, feature\)"),
        (Convolution(filter=(3, 3)), (3, 4, 5), r"\(example, height, width, channel\)"),
        (Convolution(), (3, 0, 5), r"\(example, position, channel\), none of them 0"),
        (LayerNormalised(activation="no such"), (3, 4), "no such"),
    ],
)
def test_what_cannot_be_read_is_refused(of: object, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        architecture_kernels(of, torch.ones(shape, device="cpu"))


def test_two_sets_of_inputs_must_be_of_one_kind() -> None:
    with pytest.raises(ValueError, match=r"the same but for the number of examples; got \(2, 4\) and \(2, 5\)"):
        architecture_kernels(Perceptron(), draw(2, 4), draw(2, 5))


def test_nothing_can_be_normalised_by_zero() -> None:
    x = torch.zeros((2, 3), device="cpu")
    with pytest.raises(ValueError, match="let sigma_b be above 0"):
        architecture_kernels(LayerNormalised(), x)
    found = architecture_kernels(LayerNormalised(sigma_b=0.5), x)
    assert bool(found.ntk.isfinite().all())
