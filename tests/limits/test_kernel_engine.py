"""The engine of ``tpbench.kernels``: tiles, symmetry, precision, memory, devices and errors."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tpbench import kernels
from tpbench.limits.gaussian import activation
from tpbench.limits.kernels import forms, tiles
from tpbench.limits.kernels.plan import Recipe, alike, pairwise, products

Agree = Callable[..., None]
Normal = Callable[..., Tensor]
CPU = torch.device("cpu")
NAMES = ["relu", "leaky-relu", "abs", "identity", "erf", "gelu", "sin", "tanh"]
OPTIONS: dict[str, Any] = {"depth": 3, "sigma_w": 1.2, "sigma_b": 0.3}
PARAMETRIZATIONS: list[dict[str, Any]] = [{}, {"sigma_b": 0.0}, {"parametrization": "standard", "width": 64}]


def both(x: Tensor, y: Tensor | None = None, **options: Any) -> Tensor:
    """Return nngp and ntk, stacked."""
    found = kernels(x, y, **{**OPTIONS, **options})
    return torch.stack([found.nngp, found.ntk])


def plain(x: Tensor, y: Tensor, name: str, **changes: Any) -> Tensor:
    """Return both kernels in the ntk parametrization by the recursion on whole matrices, without any fused form."""
    c = {**OPTIONS, **changes}
    shift = c["sigma_b"] ** 2
    layers = c["depth"] + 1
    recipe = Recipe(activation(name), c["depth"], c["sigma_w"] ** 2, shift, (1.0,) * layers, (shift,) * layers)
    scale = recipe.variance / x.shape[1]
    left, right = (alike(recipe, products(points, points) * scale).covariances for points in (x, y))
    found = pairwise(recipe, [k[:, None] for k in left], x @ y.T * scale, [k[None, :] for k in right])
    return torch.stack([found.covariances[-1], found.tangent])


@pytest.mark.parametrize("tile", [1, 4, 9, 17, 23, 100, None])
def test_tiles_of_any_size_give_one_kernel(agree: Agree, normal: Normal, tile: int | None) -> None:
    x, y = normal(23, 7), normal(17, 7, seed=1)
    for name in ("relu", "erf", "gelu"):
        agree(both(x, activation=name, tile=tile), plain(x, x, name), 1e-7)  # the slow one has no exact diagonal
        agree(both(x, y, activation=name, tile=tile), plain(x, y, name), 1e-13)


@pytest.mark.parametrize("changes", PARAMETRIZATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_cross_kernel_is_a_block_of_the_joint_one(
    agree: Agree, normal: Normal, name: str, changes: dict[str, Any]
) -> None:
    one, two = normal(11, 6), normal(14, 6, seed=1)
    joint = both(torch.cat([one, two]), activation=name, tile=5, **changes)
    agree(both(one, two, activation=name, tile=4, **changes), joint[:, :11, 11:], 1e-12)
    agree(both(two, one, activation=name, tile=6, **changes), joint[:, 11:, :11], 1e-12)
    agree(both(one, activation=name, **changes), joint[:, :11, :11], 1e-12)
    assert (joint == joint.mT).all()


@pytest.mark.parametrize("changes", PARAMETRIZATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_diagonal_is_that_of_the_whole(agree: Agree, normal: Normal, name: str, changes: dict[str, Any]) -> None:
    one, two = normal(11, 6), normal(11, 6, seed=1)
    agree(
        both(one, two, activation=name, diagonal=True, **changes),
        both(one, two, activation=name, **changes).diagonal(dim1=1, dim2=2),
        1e-12,
    )
    alone = both(one, activation=name, diagonal=True, **changes)
    assert (alone == both(one, activation=name, **changes).diagonal(dim1=1, dim2=2)).all()


def test_a_diagonal_of_many_points_is_that_of_each(agree: Agree, normal: Normal) -> None:
    x, y = normal(3000, 6), normal(3000, 6, seed=1)
    for part in (slice(0, 5), slice(1020, 1030), slice(2990, 3000)):
        few = both(x[part], y[part], activation="relu", diagonal=True)
        agree(both(x, y, activation="relu", diagonal=True)[:, part], few, 1e-13)


def test_a_point_with_itself_is_not_disturbed_by_rounding(agree: Agree, normal: Normal) -> None:
    """arcsin has an infinite slope at 1, where a cosine one rounding away costs half the digits."""
    x = normal(50, 30)
    expected = 4 * 2 * x.square().sum(dim=1) / 30
    options: dict[str, Any] = {"depth": 3, "activation": "relu", "sigma_w": 2**0.5}
    agree(kernels(x, **options).ntk.diagonal(), expected, 1e-13)
    agree(kernels(x.float(), **options).ntk.diagonal(), expected, 2e-7)
    assert (kernels(x, x, **options).ntk == kernels(x, **options).ntk).all()
    # Plant: the same rows as another tensor are another matter.
    assert (kernels(x.float(), x.float().clone(), **options).ntk.diagonal() - expected).abs().max() > 1e-5


@pytest.mark.parametrize("changes", PARAMETRIZATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_float32_has_the_accuracy_of_float32(agree: Agree, normal: Normal, name: str, changes: dict[str, Any]) -> None:
    x, y = normal(60, 50), normal(40, 50, seed=1)
    for pair in ((x, None), (x, y)):
        narrow = [None if part is None else part.float() for part in pair]
        wide = [None if part is None else part.double() for part in narrow]
        found = both(*narrow, activation=name, **changes)  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        for kernel, expected in zip(found, both(*wide, activation=name, **changes), strict=True):  # type: ignore[arg-type]
            agree(kernel, expected, 3e-6)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_opposite_equal_and_tiny_points_are_finite(agree: Agree, normal: Normal, name: str) -> None:
    """Cosines of ±1, which rounding takes beyond, and variances of 1e-30 and 1e3. What it does to them grows no further
    from layer to layer: a cosine that is off by one rounding is an angle that is off by its root."""
    x = normal(8, 5)
    x = torch.cat([x, -x, x, 2 * x, 1e-15 * x, 30 * x])
    settings: list[dict[str, Any]] = [{}, {"sigma_b": 0.0}]
    for changes in settings:
        expected = plain(x, x, name, **changes)
        for dtype, tolerance in ((torch.float64, 3e-8), (torch.float32, 3e-4)):
            found = both(x.to(dtype), activation=name, **changes)
            for kernel, right in zip(found, expected, strict=True):
                size = right.diagonal().sqrt()
                agree(kernel.double() / size / size[:, None], right / size / size[:, None], tolerance)


@pytest.mark.parametrize("name", ["relu", "leaky-relu", "abs", "erf", "identity"])
def test_a_wrong_fused_form_is_noticed(normal: Normal, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    known = forms.FORMS[name]

    def damaged(what: int) -> forms.Form:
        """The form with its value (0) or its slope (1) a thousandth too large."""

        def begin(like: Tensor) -> forms.Step:
            step_ = known.begin(like)

            def wrong_(*blocks: Tensor) -> None:
                step_(*blocks)
                blocks[what].mul_(1.001)

            return wrong_

        return replace(known, begin=begin)

    x, y = normal(9, 4), normal(7, 4, seed=1)
    expected = plain(x, y, name)
    for what, seen in ((0, [0, 1]), (1, [1])):
        monkeypatch.setattr(forms, "FORMS", {name: damaged(what)})
        error = (both(x, y, activation=name) - expected).abs().amax(dim=(1, 2)) / expected.abs().amax(dim=(1, 2))
        assert (error[seen] > 1e-4).all()
        assert all(error[k] < 1e-13 for k in (0, 1) if k not in seen)


def test_a_forgotten_mirror_is_noticed(agree: Agree, normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    x, cut = normal(12, 4), tiles._places
    agree(both(x, activation="relu", tile=5), plain(x, x, "relu"), 1e-7)
    monkeypatch.setattr(tiles, "_places", lambda *given: list(cut(*given))[:-2])
    monkeypatch.setattr(tiles, "_empty", lambda shape, like: torch.zeros(shape, dtype=like.dtype, device=like.device))
    assert (both(x, activation="relu", tile=5) == 0).any()


def test_the_inputs_are_left_alone_and_no_gradient_is_recorded(normal: Normal) -> None:
    x = normal(9, 4).requires_grad_()
    before = x.detach().clone()
    found = kernels(x, depth=2, activation="relu")
    assert (x == before).all()
    assert not found.ntk.requires_grad
    found.ntk.zero_()
    assert (x == before).all()
    # nor do the results share memory with one another or with a later call
    again = kernels(x, depth=2, activation="relu")
    assert (again.ntk != 0).any()
    assert (found.nngp == again.nngp).all()


def test_arrays_of_any_layout(normal: Normal) -> None:
    x = normal(8, 6).numpy()
    expected = kernels(x.copy(), **OPTIONS, activation="relu").ntk
    frozen = x.copy()
    frozen.flags.writeable = False
    turned, spread = np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layout in (frozen, turned, spread, x[::-1][::-1], torch.tensor(turned, device=CPU).numpy()):
            found = kernels(layout, **OPTIONS, activation="relu")
            assert found.ntk.dtype == np.float64
            assert np.abs(found.ntk - expected).max() < 1e-12
    assert kernels(x.astype(np.float32), **OPTIONS, activation="relu").ntk.dtype == np.float32


def test_no_points_have_an_empty_kernel(normal: Normal) -> None:
    assert both(normal(0, 4), normal(3, 4), activation="erf").shape == (2, 0, 3)
    assert both(normal(0, 4), activation="relu").shape == (2, 0, 0)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin", "identity"])
def test_every_operation_is_on_the_inputs_device(name: str) -> None:
    """On the meta device a tensor made elsewhere is an error, and so is a branch on a value."""
    x = torch.empty(2000, 5, device="meta")
    found = kernels(x, **OPTIONS, activation=name)
    assert (found.ntk.device.type, found.ntk.shape, found.ntk.dtype) == ("meta", (2000, 2000), torch.float32)
    cross = kernels(x, x[:7], **OPTIONS, activation=name, rates=(1, 2, 3, 4))
    assert cross.nngp.shape == (2000, 7)
    assert kernels(x, **OPTIONS, activation=name, diagonal=True).ntk.shape == (2000,)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_cuda_agrees_with_the_cpu(agree: Agree, normal: Normal, name: str) -> None:
    x = normal(300, 20)
    found = both(x.cuda(), activation=name, tile=128)
    assert found.device.type == "cuda"
    agree(found, both(x, activation=name), 1e-10)


MEASURE = """
import resource, torch, tpbench
x = torch.randn(4000, 20, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu")
tpbench.kernels(x[:1000], depth=3, activation="{name}")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tpbench.kernels(x, x2, depth=3, activation="{name}")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
@pytest.mark.parametrize(("name", "other"), [("relu", "None"), ("gelu", "x.clone()")])
def test_memory_is_that_of_the_results(name: str, other: str) -> None:
    """Two kernels of 4000 x 4000 in float32 are 122 MiB, and one matrix more would be 61 MiB."""
    code = MEASURE.format(name=name).replace("x2", other)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < 122 + 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "a perceptron has depth of at least 1 hidden layer, a whole number, got 0"),
        ({"depth": 2.0}, "a whole number, got 2.0"),
        ({"sigma_w": 0.0}, "sigma_w is above 0 and sigma_b at least 0, both finite, got 0.0 and 0.3"),
        ({"sigma_b": float("nan")}, "sigma_w is above 0 and sigma_b at least 0, both finite, got 1.2 and nan"),
        ({"activation": "swish"}, "no Gaussian dual of activation 'swish'"),
        ({"parametrization": "mup"}, "unknown parametrization 'mup' of kernels (known: ntk, standard)"),
        (
            {"parametrization": "standard"},
            "give the hidden layers' width of at least 1, got None",
        ),
        ({"parametrization": "standard", "width": 0}, "give the hidden layers' width of at least 1, got 0"),
        ({"width": 64}, "kernels in the ntk parametrization depend on no width, got 64: leave it out"),
        ({"rates": (1.0, 1.0)}, "4 layers need as many finite rates, got (1.0, 1.0)"),
        ({"rates": (1.0, 1.0, 1.0, float("inf"))}, "4 layers need as many finite rates, got (1.0, 1.0, 1.0, inf)"),
        ({"tile": 0}, "a tile has at least 1 row, got 0"),
    ],
)
def test_options_that_do_not_fit_are_errors(normal: Normal, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        kernels(normal(4, 3), **{**OPTIONS, "activation": "relu", **changes})


def test_inputs_of_other_shapes_are_errors(normal: Normal) -> None:
    shapes = [((5,), None), ((3, 5), (3, 4)), ((6, 5), (2, 3, 5)), ((3, 0), None)]
    for one, two in shapes:
        with pytest.raises(ValueError, match=r"inputs have shape \(examples, features\) alike, got"):
            kernels(normal(*one), None if two is None else normal(*two), depth=1, activation="relu")
    with pytest.raises(ValueError, match="a diagonal needs as many points on either side, got 4 and 5"):
        kernels(normal(4, 3), normal(5, 3), depth=1, activation="relu", diagonal=True)


def test_inputs_of_other_types_are_errors(normal: Normal) -> None:
    x = normal(4, 3)
    for other, name in ((x.half(), "torch.float16"), (x.long(), "torch.int64"), (x.numpy().astype(">f8"), ">f8")):
        with pytest.raises(TypeError, match=f"computed in float32 or float64, got inputs of {name}: convert them"):
            kernels(other, depth=1, activation="relu")
    with pytest.raises(TypeError, match="inputs are tensors or NumPy arrays, got list: convert them"):
        kernels([[1.0]], depth=1, activation="relu")
    with pytest.raises(TypeError, match="both inputs are tensors or both arrays, got Tensor and ndarray"):
        kernels(x, x.numpy(), depth=1, activation="relu")
    with pytest.raises(ValueError, match=r"both inputs have one dtype and device, got torch.float64 on cpu and"):
        kernels(x, x.float(), depth=1, activation="relu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_series_takes_a_point_and_itself_for_one(agree: Agree, dtype: torch.dtype) -> None:
    """A product x·x is off by several roundings, and at a correlation of nearly 1 a series does not converge."""
    for seed in range(10):
        generator = torch.Generator("cpu").manual_seed(seed)
        x = 8 * torch.randn(48, 40, generator=generator, dtype=dtype, device="cpu")
        own = kernels(x, depth=3, activation="tanh", sigma_w=1.5)
        again = kernels(x, x.clone(), depth=3, activation="tanh", sigma_w=1.5)
        agree(again.ntk, own.ntk, 1e-5 if dtype is torch.float32 else 1e-12)
