"""Trained lazy networks are dense networks, path by path: the same initial matrices give the same training.

That the initial matrices have the right law is the matter of test_lazy_network_law.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tpbench.networks import mlp as networks
from tpbench.networks.activation import ACTIVATIONS
from tpbench.networks.loss import LOSSES
from tpbench.networks.measure import movements, sizes, tangent_kernel
from tpbench.networks.mlp import Ensemble, Layer, Mlp, Trace, forward, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import named
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import Innovations, MonteCarlo, Sobol
from tpbench.weights.lazy import LazyGaussian

CPU, META = torch.device("cpu"), torch.device("meta")
Agree = Callable[..., None]
INPUTS, OUTPUTS, EXAMPLES, STEPS = 4, 2, 6, 4
GROWING = ("square", "cube", "exp")  # deep networks of these blow up at any rate worth a test
SGD = Sgd(0.3, momentum=0.9, weight_decay=0.1, batch=2)


def lazy(mlp: Mlp, table: str = "mup", innovations: Innovations | None = None, **more: Any) -> Ensemble:
    drawn = MonteCarlo([3, 1, 4]) if innovations is None else innovations
    kinds = {"device": CPU, "dtype": torch.float64, "keep_initial": True, "base_width": 4, **more}
    return initialise_lazy(mlp, named(table), drawn, **kinds)


def task(dtype: torch.dtype = torch.float64, device: torch.device = CPU) -> Task:
    source = torch.Generator(device=CPU).manual_seed(7)
    x, y = (torch.randn(EXAMPLES, n, generator=source, dtype=torch.float64, device=CPU) for n in (INPUTS, OUTPUTS))
    return Task(x.to(device, dtype), y.to(device, dtype))


def drawn(weights: LazyGaussian) -> Tensor:
    """Return W_0, by asking for all of it: the present matrix less what the updates added."""
    seeds, _, size = weights.shape
    eye = torch.eye(size, dtype=torch.float64, device=CPU).expand(seeds, -1, -1)
    return weights.materialise() - weights.update_matmul(eye).mT


def dense_twin(fresh: Ensemble, trained: Ensemble) -> Ensemble:
    """Return an ensemble of dense weights: the ends of a fresh one, inside what a trained one turned out to be."""
    layers: list[Layer] = []
    for layer, other in zip(fresh.layers, trained.layers, strict=True):
        found = other.weights
        known = DenseGaussian(drawn(found), keep_initial=True) if isinstance(found, LazyGaussian) else layer.weights
        layers.append(replace(layer, weights=known))
    return Ensemble(fresh.mlp, tuple(layers), fresh.seeds)


def course(ensemble: Ensemble, sgd: Sgd, probing: bool = True) -> Iterator[Tensor]:
    """Train, and yield all measurements of the end or, probing, of every step, which asks more than training does."""
    data = task()
    probe = torch.cat([data.inputs[:2], 2 * data.inputs[:1] - data.inputs[3:4]])
    start: Trace | None = None
    for step, now in train(ensemble, data, sgd, batches(EXAMPLES, sgd.batch, STEPS, seed=1)):
        if probing or step in (0, STEPS):
            trace = forward(now, probe)
            start = trace if start is None else start
            yield from (trace.output, *trace.preactivations, tangent_kernel(now, probe))
            yield from (measured.values for measured in (*sizes(now, trace), *movements(now, start, trace)))


def assert_same_course(agree: Agree, mlp: Mlp, table: str, sgd: Sgd, probing: bool = True) -> None:
    trained = lazy(mlp, table)
    ours = list(course(trained, sgd, probing))
    theirs = list(course(dense_twin(lazy(mlp, table), trained), sgd, probing))
    last = len(theirs) // (STEPS + 1 if probing else 2)
    assert len(ours) == len(theirs) > last > 10
    assert float((theirs[-last] - theirs[0]).abs().max()) > 0.05, "something is learned"
    for one, two in zip(ours, theirs, strict=True):
        agree(one, two, 1e-9, floor=1.0)


@pytest.mark.parametrize("probing", [False, True])
@pytest.mark.parametrize("phi", [phi for phi in ACTIVATIONS if phi not in GROWING])
def test_training_is_that_of_the_dense_network(agree: Agree, phi: str, probing: bool) -> None:
    assert_same_course(agree, Mlp(INPUTS, OUTPUTS, 40, 3, phi, bias=True), "mup", SGD, probing)


@pytest.mark.parametrize(("table", "width", "loss"), list(itertools.product(("ntp", "sp-over-n"), (2, 5, 17), LOSSES)))
def test_so_it_is_when_everything_has_been_asked(agree: Agree, table: str, width: int, loss: str) -> None:
    """Widths that a few steps exhaust, where most queries are dependent or, with relu, zero."""
    sgd = Sgd(0.2, momentum=0.5, weight_decay=0.2, batch=3, loss=loss)
    assert_same_course(agree, Mlp(INPUTS, OUTPUTS, width, 2, "relu"), table, sgd)


def test_room_changes_nothing() -> None:
    mlp = Mlp(INPUTS, OUTPUTS, 40, 3, "gelu")
    for one, two in zip(*(course(lazy(mlp, room=room), SGD) for room in (1, 64)), strict=True):
        assert torch.equal(one, two)


class Stale(LazyGaussian):
    """Takes a buffer that was written to since for the query it held before."""

    def _remembered(self, x: Tensor, right: bool) -> Tensor | None:
        asked = self._asked.get(right)
        return asked.coordinates if asked is not None and asked.vector() is x else None


class Half(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, *, scale: float, **more: Any) -> None:
        super().step_(y, x, scale=0.999 * scale, **more)


@pytest.mark.parametrize("fault", [Stale, Half])
def test_faults_of_the_path_are_seen(monkeypatch: pytest.MonkeyPatch, agree: Agree, fault: type[LazyGaussian]) -> None:
    monkeypatch.setattr(networks, "LazyGaussian", fault)
    with pytest.raises(AssertionError, match="of the largest entry"):
        assert_same_course(agree, Mlp(INPUTS, OUTPUTS, 40, 3, "tanh"), "mup", SGD, probing=False)


def test_a_wide_network_in_single_precision_is_the_one_in_double() -> None:
    """Both draw the same numbers, and give them to the same directions."""
    outputs = []
    for dtype in (torch.float32, torch.float64):
        ensemble, data = lazy(Mlp(INPUTS, OUTPUTS, 2**12, 2, "tanh"), dtype=dtype), task(dtype)
        list(train(ensemble, data, SGD, batches(EXAMPLES, SGD.batch, STEPS, seed=1)))
        outputs.append(forward(ensemble, data.inputs).output.double())
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
    assert float(outputs[0].abs().max()) > 0.1


@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_sobol_points_and_independent_draws_have_the_same_mean(phi: str) -> None:
    """The mean output at every step; and the points spread less, or they would be of no use."""
    found = {}
    for source, seeds in ((MonteCarlo, range(64)), (Sobol, range(24))):
        ensemble = lazy(Mlp(INPUTS, OUTPUTS, 2**10, 2, phi), innovations=source(seeds))
        data = task()
        outputs = [
            forward(now, data.inputs).output
            for _, now in train(ensemble, data, SGD, batches(EXAMPLES, SGD.batch, STEPS, seed=1))
        ]
        found[source] = torch.stack(outputs, dim=1).flatten(1)  # (seed, step · example · output)
    means, errors = (
        [getattr(values, name)(dim=0) / len(values) ** power for values in found.values()]
        for name, power in (("mean", 0.0), ("std", 0.5))
    )
    z = (means[0] - means[1]) / (errors[0] ** 2 + errors[1] ** 2).sqrt()
    assert float(z.abs().max()) < 4.5
    assert float(means[1].abs().max()) > 0.3, "something is learned"
    spreads = [float(values.var(dim=0).mean().sqrt()) for values in found.values()]
    assert spreads[1] < spreads[0] / 3


@pytest.mark.parametrize("source", [MonteCarlo, Sobol])
@pytest.mark.parametrize("width", [16, 1000])
def test_a_whole_training_runs_where_tensors_have_no_values(
    source: Callable[[Sequence[int]], Innovations], width: int
) -> None:
    """Also where it asks for more than the matrix has, width 16."""
    mlp = Mlp(INPUTS, OUTPUTS, width, 3, "relu", bias=True)
    for (batch, momentum), name in zip([(None, 0.0), (4, 0.9), (4, 0.0)], LOSSES, strict=True):
        ensemble = lazy(mlp, "mup", source([0, 1]), device=META, dtype=torch.float32)
        data = task(torch.float32, META)
        start = forward(ensemble, data.inputs)
        sgd = Sgd(0.1, momentum, 0.01, batch, name)
        assert len(list(train(ensemble, data, sgd, batches(EXAMPLES, batch, 5, 0)))) == 6
        now = forward(ensemble, data.inputs)
        assert now.output.shape == (2, EXAMPLES, OUTPUTS)
        for tensor in (now.output, *now.preactivations, tangent_kernel(ensemble, data.inputs)):
            assert tensor.device == META
        hidden = [layer.weights for layer in ensemble.layers if isinstance(layer.weights, LazyGaussian)]
        assert len(hidden) == 2
        for weights in hidden:
            assert weights.initial_matmul_of_change(now.input_of(2), start.input_of(2)).device == META
            assert weights.update_matmul(now.input_of(2)).device == META
            assert EXAMPLES <= min(weights.ranks) <= max(weights.ranks) <= width


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the comparison of devices was NOT made")
@pytest.mark.parametrize("source", [MonteCarlo, Sobol])
@pytest.mark.parametrize("width", [8, 1000])
def test_lazy_training_on_cuda_agrees_with_the_cpu(source: Callable[[Sequence[int]], Innovations], width: int) -> None:
    """Not bit by bit: where queries are dependent but for rounding, other rounding finds other directions."""
    outputs = []
    for device in (CPU, torch.device("cuda")):
        ensemble = lazy(Mlp(INPUTS, OUTPUTS, width, 2, "tanh"), innovations=source([0, 1]), device=device)
        data = task(device=device)
        list(train(ensemble, data, SGD, batches(EXAMPLES, SGD.batch, STEPS, seed=1)))
        outputs.append(forward(ensemble, data.inputs).output.cpu())
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-8, atol=1e-8)


def test_the_default_dtype_does_not_matter(normal: Callable[..., Tensor]) -> None:
    """Scripts set it to double precision; numbers that torch makes from Python's would change type with it."""
    x, y = normal(3, 4).float(), normal(3, 1).float()
    outputs = []
    for dtype in (torch.float32, torch.float64):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            ensemble = initialise_lazy(Mlp(4, 1, 32, 2, "tanh"), named("mup"), MonteCarlo(0), device=CPU, dtype=x.dtype)
            list(train(ensemble, Task(x, y), Sgd(0.3), [None] * 2))
            outputs.append(forward(ensemble, x).output)
        finally:
            torch.set_default_dtype(before)
    torch.testing.assert_close(*outputs)
