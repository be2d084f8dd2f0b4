"""What the roads to the kernel of a user's module cost: estimated, counted, and the cheaper one taken."""

from __future__ import annotations

import pytest
import torch
from architecture_cases import CPU
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tpbench.networks.tangent import empirical_ntk, functional
from tpbench.networks.tangent.functional import operations
from tpbench.networks.tangent.module import ROADS, _model, _of_output


def test_the_cheaper_road_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many outputs, all pairs: products. One output: Jacobians. What was counted bears out what was estimated."""
    taken: list[str] = []
    for road, do in ROADS.items():
        monkeypatch.setitem(ROADS, road, lambda *a, road=road, do=do, **b: (taken.append(road), do(*a, **b))[1])
    wide = nn.Sequential(nn.Linear(30, 30, bias=False), nn.Tanh(), nn.Linear(30, 40, bias=False))
    x = torch.ones(6, 30, device=CPU)
    for outputs, best in (("full", "vector-products"), ("trace", "jacobian"), (0, "jacobian")):
        empirical_ntk(wide, x, outputs=outputs)
        assert taken.pop() == best
        model = _model(wide) if isinstance(outputs, str) else _of_output(_model(wide), outputs, 40)
        estimated = operations(model, x, None, trace=outputs != "full", chunk=6)
        spent = {road: counted(road, model, x, None, trace=outputs != "full", chunk=6) for road in ROADS}
        for road in ROADS:
            assert 0.4 < estimated[road] / spent[road] < 2.5, (outputs, road, estimated, spent)
        assert min(spent, key=lambda road: spent[road]) == best


def counted(road: str, *args: object, **words: object) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        ROADS[road](*args, **words)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("chunk", [1, 2, 4, 6, 7])
@pytest.mark.parametrize("other", [None, 5])
def test_small_blocks_cost_what_they_are_said_to(chunk: int, other: int | None) -> None:
    """Jacobians of the second side are made anew for every block of the first; the products make nothing anew."""
    layers = [nn.Linear(30, out, bias=False) for out in (30, 30, 30, 1)]
    model = _model(nn.Sequential(*layers))
    x1 = torch.ones(6, 30, device=CPU)
    x2 = None if other is None else torch.ones(other, 30, device=CPU)
    estimated = operations(model, x1, x2, trace=True, chunk=chunk)
    spent = {road: counted(road, model, x1, x2, trace=True, chunk=chunk) for road in ROADS}
    assert 0.8 < estimated["jacobian"] / spent["jacobian"] < 1.25
    assert 0.6 < estimated["vector-products"] / spent["vector-products"] < 1.8


@pytest.mark.parametrize(("rows", "columns"), [(1, None), (6, None), (7, None), (5, 3)])
@pytest.mark.parametrize("chunk", [1, 2, 3, 8])
def test_blocks_are_counted(rows: int, columns: int | None, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    pairs: list[int] = []
    jacobians, product = functional._jacobians, functional._product
    monkeypatch.setattr(functional, "_jacobians", lambda model, at: (made.append(len(at)), jacobians(model, at))[1])
    monkeypatch.setattr(
        functional,
        "_product",
        lambda a, b, *, trace: (pairs.append(len(a[0]) * len(b[0])), product(a, b, trace=trace))[1],
    )
    x = torch.ones(7, 4, device=CPU)
    second = None if columns is None else x[:columns]
    functional.from_jacobians(_model(nn.Linear(4, 3)), x[:rows], second, trace=True, chunk=chunk)
    assert (sum(made), sum(pairs)) == functional.blockwise(rows, columns, chunk)
