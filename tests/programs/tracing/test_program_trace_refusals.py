"""What is no Tensor Program is refused, with the operation and its line; a wrong rule is noticed by the replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traced_models import CPU, DOUBLE, Model, Perceptron, inputs, trained

from tpbench.programs import trace
from tpbench.programs.tracing import TraceError
from tpbench.programs.tracing.axes import Table
from tpbench.programs.tracing.call import Call
from tpbench.programs.tracing.reading import RULES

Body = Callable[[Model, Tensor], Tensor]
X = inputs()[0]


def _branch(m: Model, x: Tensor) -> Tensor:
    h = m.read_in(x)
    return torch.tanh(h) if h.sum() > 0 else h


BODIES: Mapping[str, tuple[Body, str]] = {
    "item": (
        lambda m, x: m.read_in(x) * m.read_in(x).mean().item(),
        r"_local_scalar_dense .*random number into Python",
    ),
    "branch": (_branch, r"_local_scalar_dense"),
    "softmax over neurons": (lambda m, x: torch.softmax(m.read_in(x), -1), r"of aten\._softmax"),
    "sort": (lambda m, x: torch.sort(m.read_in(x)).values, r"aten\.sort"),
    "largest neuron": (lambda m, x: m.read_in(x).amax(-1), r"aten\.amax .*not extremes"),
    "one neuron": (lambda m, x: m.read_in(x)[:, 0], r"aten\.select .*treat all neurons alike"),
    "some neurons": (lambda m, x: m.read_in(x)[:, : m.n // 2], r"aten\.slice .*cut out of a width axis"),
    "split neurons": (lambda m, x: m.read_in(x).chunk(2, -1)[0], r"aten\.split"),
    "joined neurons": (lambda m, x: torch.cat([m.read_in(x)] * 2, -1), r"aten\.cat"),
    "heads": (lambda m, x: m.read_in(x).view(3, 2, -1), r"aten\.view .*keep width axes whole"),
    "product of weights": (
        lambda m, x: m.hidden.weight @ m.hidden.weight @ m.read_in(x).T,
        r"aten\.mm .*A @ \(B @ x\)",
    ),
    "squared weights": (lambda m, x: m.read_in(x) @ m.hidden.weight**2, r"aten\.pow .*entry by entry"),
    "function of weights": (lambda m, x: m.read_in(x) @ torch.tanh(m.hidden.weight), r"aten\.tanh .*Adam"),
    "growing": (lambda m, x: torch.tanh(m.read_in(x).sum(-1, keepdim=True)), r"aten\.tanh .*order n\^\(1\)"),
    "growing output": (lambda m, x: m.read_in(x).square().sum(-1), r"output 'out\[0\]': .*order n\^\(1\)"),
    "matrix": (lambda m, x: m.hidden.weight, r"output 'out' has two width axes"),
    "random order": (lambda m, x: m.read_in(x)[torch.randperm(3)], r"aten\.randperm"),
    "convolution": (
        lambda m, x: functional.conv1d(m.read_in(x), torch.ones(3, 3, 3, dtype=DOUBLE, device=CPU)),
        r"convolution",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_what_cannot_be_written_is_refused_by_its_name_and_line(name: str) -> None:
    body, words = BODIES[name]
    with pytest.raises(TraceError, match=words) as caught:
        trace(Model, lambda model: body(model, X))
    assert "test_program_trace_refusals.py:" in str(caught.value) or "output" in str(caught.value)


def test_the_read_out_of_standard_parametrization_is_refused_with_remedies() -> None:
    def standard(n: int) -> nn.Module:
        model = Perceptron(n)
        nn.init.normal_(model.read_out.weight, std=n**-0.5)
        return model

    with pytest.raises(TraceError, match=r"order n\^\(1/2\).*muP read-out.*initialise the read-out at 0.*f − f_0"):
        trace(standard, lambda model: model(X))


def test_adam_is_refused() -> None:
    def run(model: nn.Module) -> Tensor:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(X).mean().backward()
        optimizer.step()
        out: Tensor = model(X)
        return out

    with pytest.raises(TraceError, match=r"aten\.sqrt .*width × width matrix"):
        trace(Perceptron, run)


def test_code_that_is_another_at_another_width_is_refused() -> None:
    def run(model: nn.Module) -> Tensor:
        assert isinstance(model, Model)
        h = model.read_in(X)
        return (torch.tanh(h) if model.n > 10 else torch.sin(h)).mean()

    with pytest.raises(TraceError, match=r"not do the same at every width: aten\.sin .* at width 8, aten\.tanh .*12"):
        trace(Model, run)


def test_axes_that_are_not_proportional_to_the_width_are_refused() -> None:
    with pytest.raises(TraceError, match="neither constant nor proportional"):
        trace(lambda n: nn.Linear(2, n + 1, dtype=DOUBLE), lambda model: model(X).mean())


def test_random_numbers_without_width_are_refused_unless_the_code_seeds_them() -> None:
    def run(model: nn.Module, source: torch.Generator | None) -> Tensor:
        assert isinstance(model, Model)
        noise = torch.randn(3, 2, generator=source, dtype=DOUBLE, device=CPU)
        return torch.tanh(model.read_in(noise)).square().mean(-1)

    with pytest.raises(TraceError, match="random at infinite width, too"):
        trace(Model, lambda model: run(model, None))
    program = trace(Model, lambda model: run(model, torch.Generator(device=CPU).manual_seed(3)))
    assert len(program.outputs) == 3


def test_results_that_are_no_tensors_are_refused() -> None:
    with pytest.raises(TraceError, match="float for 'loss'"):
        trace(Model, lambda model: {"loss": 1.0})
    with pytest.raises(TraceError, match="no tensors"):
        trace(Model, lambda model: {})
    with pytest.raises(ValueError, match="three or more widths"):
        trace(Model, lambda model: model(X), widths=(4, 8))


def test_training_that_diverges_is_refused() -> None:
    with pytest.raises(TraceError, match="not finite"):
        trace(Perceptron, trained(12, rate=1e40))


FAULTS: Mapping[str, tuple[str, Callable[[Table], Table]]] = {
    "a wrong power": ("mean", lambda out: _scaled(out, lambda key: (key[0], key[1], key[2] - 1))),
    "a forgotten update": ("add", lambda out: _scaled(out, lambda key: key, 0.5)),
}


def _scaled(out: Table, rekey: Callable[..., tuple[object, ...]], factor: float = 1.0) -> Table:
    cells = out.cells.copy()
    for place in np.ndindex(cells.shape):
        cell: Any = cells[place]
        cells[place] = {rekey(key): value * factor for key, value in cell.items()}
    return Table(out.axes, cells, out.slots)


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_rule_is_noticed_by_the_replay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, fault = FAULTS[name]
    rule = RULES[operation]

    def faulty(call: Call) -> Table:
        out = rule(call)
        assert isinstance(out, Table)
        return fault(out)

    trace(Perceptron, trained(1))
    monkeypatch.setitem(RULES, operation, faulty)
    with pytest.raises(TraceError, match="does not repeat the code"):
        trace(Perceptron, trained(1))
