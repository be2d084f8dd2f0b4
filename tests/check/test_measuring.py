"""The whole measurement: completeness, exponents known beforehand, divergence, compiled models, buffers, dropout."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from by_hand import CPU, WIDTHS, has, histories, layer, normal, rms, trained, value
from torch import Tensor, nn

from tpbench.check.measure import measure

X, Y = normal(12, 5), normal(12, 3, seed=1)
BACKWARD = ("gradient", "loss-derivative")
"""Quantities of every step, whatever is recorded."""


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def factory(width: int) -> tuple[Any, ...]:
    return trained(mlp(width), (X, Y))


def as_table(measured: Any) -> dict[tuple[Any, ...], float]:
    return {(width, row.quantity, row.layer, row.seed, row.step): row.value for width, row in measured.rows}


def test_every_width_and_seed_has_the_same_rows_once() -> None:
    measured = measure(factory, widths=(16, 8), seeds=3, steps=3, first_seed=7)
    assert (measured.widths, measured.seeds, measured.steps, measured.record) == ((8, 16), 3, 3, (0, 1, 3))
    assert len(as_table(measured)) == len(measured.rows)
    counts = Counter((row.quantity, row.layer, row.step) for _, row in measured.rows)
    assert set(counts.values()) == {6}
    assert {row.seed for _, row in measured.rows} == {7, 8, 9}
    assert {(quantity, step) for quantity, number, step in counts if number == layer(measured, "2").number} == {
        ("preactivation", 0),
        ("expected-preactivation", 0),
        ("initial-weight", 0),
        *(("gradient", step) for step in range(3)),
        *(
            (name, step)
            for name in ("preactivation-change", "weight-update", "initial-weight-on-change")
            for step in (1, 3)
        ),
        *(("input", step) for step in (0, 1, 3)),
    }
    assert measured.seconds > 0


def test_a_seed_alone_gives_what_it_gives_among_others_and_records_do_not_disturb() -> None:
    together = as_table(measure(factory, widths=WIDTHS, seeds=3, steps=3))
    alone = as_table(measure(factory, widths=WIDTHS, seeds=1, steps=3, first_seed=2))
    assert alone == {key: number for key, number in together.items() if key[3] == 2}
    often = as_table(measure(factory, widths=WIDTHS, seeds=3, steps=3, record=(0, 1, 2, 3)))
    forward = {key: number for key, number in often.items() if key[4] != 2 or key[1] in BACKWARD}
    assert together == forward


def test_progress_counts_networks() -> None:
    seen: list[tuple[int, int]] = []
    measure(factory, widths=WIDTHS, seeds=2, steps=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_gradients_are_those_that_the_next_step_used() -> None:
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=2)
    kept = histories(factory, WIDTHS[1], 2)
    for name in ("0", "2", "4"):
        assert value(measured, name, "initial-weight", 0) == pytest.approx(rms(kept[0][f"{name}.weight"]), rel=1e-9)
        for step in (0, 1):
            gradient = (kept[step][f"{name}.weight"] - kept[step + 1][f"{name}.weight"]) / 0.3
            assert value(measured, name, "gradient", step) == pytest.approx(rms(gradient), rel=1e-9)


def test_the_loss_derivative_is_that_of_the_output() -> None:
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=3)
    told = {row.step: row.value for width, row in measured.rows if row.quantity == "loss-derivative" and width == 8}
    assert set(told) == {0, 1, 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, optimizer, (inputs, targets), *_ = factory(8)
        for step in range(3):
            output = model(inputs)
            assert told[step] == pytest.approx(rms((output - targets).detach() / targets.numel()), rel=1e-6)
            optimizer.zero_grad()
            ((output - targets).square().mean() / 2).backward()
            optimizer.step()


def test_a_model_that_returns_its_loss_has_no_loss_derivative() -> None:
    class OwnLoss(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.net = mlp(width)

        def forward(self, x: Tensor) -> Tensor:
            return (self.net(x) - Y.to(x.dtype)).square().mean()

    def own(width: int) -> tuple[Any, ...]:
        model = OwnLoss(width)
        return model, torch.optim.SGD(model.parameters(), lr=0.1), (X.float(), None), lambda output, _: output

    measured = measure(own, widths=WIDTHS, seeds=1, steps=2)
    assert not any(row.quantity == "loss-derivative" for _, row in measured.rows)
    assert any(row.quantity == "gradient" for _, row in measured.rows)


def test_the_expected_start_is_the_start_without_noise() -> None:
    measured = measure(factory, widths=(16, 256), seeds=1, steps=1)
    for width in (16, 256):
        weight = histories(factory, width, 0)[0]["2.weight"]
        x = value(measured, "2", "input", 0, width)
        wanted = rms(weight) * width**0.5 * x
        assert value(measured, "2", "expected-preactivation", 0, width) == pytest.approx(wanted, rel=1e-9)
    start = value(measured, "2", "preactivation", 0, 256)
    assert value(measured, "2", "expected-preactivation", 0, 256) == pytest.approx(start, rel=0.1)


def test_shrinkage_is_the_lost_share_of_the_initial_weight_and_only_of_decayed_ones() -> None:
    def still(width: int) -> tuple[Any, ...]:
        model = mlp(width).double()
        groups = [{"params": [model[2].weight], "weight_decay": 0.1}, {"params": [model[4].weight]}]
        return model, torch.optim.SGD(groups, lr=0.5), (X, Y), lambda output, targets: 0 * output.sum()

    measured = measure(still, widths=WIDTHS, seeds=1, steps=3)
    for step in (1, 3):
        assert value(measured, "2", "shrinkage", step) == pytest.approx(1 - (1 - 0.05) ** step, rel=1e-9)
    assert not has(measured, "4", "shrinkage")


def test_known_exponents_come_out() -> None:
    """SGD on a standard network whose loss is linear: the powers of one step by hand.

    With W_out of standard deviation n^(-1/2), the derivative of a neuron is n^(-1/2), and W_1 moves by n^(-1/2) at a
    rate without powers; the read-out moves by n^0 an entry, so n^1 an output, and its start is n^0.
    """

    def standard(width: int) -> tuple[Any, ...]:
        model = nn.Sequential(nn.Linear(5, width, bias=False), nn.Tanh(), nn.Linear(width, 3, bias=False))
        nn.init.normal_(model[0].weight)
        nn.init.normal_(model[2].weight, std=width**-0.5)
        return trained(model, X, rate=1e-3)

    measured = measure(standard, widths=(256, 4096), seeds=4, steps=1)

    def power(name: str, quantity: str, step: int) -> float:
        sizes = [
            sum(value(measured, name, quantity, step, width, seed) ** 2 for seed in range(4)) for width in (256, 4096)
        ]
        return math.log(sizes[1] / sizes[0]) / 2 / math.log(16)

    assert power("0", "preactivation", 0) == pytest.approx(0, abs=0.05)
    assert power("0", "weight-update", 1) == pytest.approx(-0.5, abs=0.05)
    assert power("2", "weight-update", 1) == pytest.approx(1, abs=0.05)
    assert power("2", "expected-preactivation", 0) == pytest.approx(0, abs=0.05)


def test_a_network_that_diverges_keeps_complete_tables_of_nan() -> None:
    def wild(width: int) -> tuple[Any, ...]:
        model = nn.Sequential(nn.Linear(5, width), nn.Linear(width, width, bias=False), nn.Linear(width, 3)).double()
        return model, torch.optim.SGD(model.parameters(), lr=1e60 if width > 8 else 0.1, weight_decay=0.1), (X, Y)

    measured = measure(wild, widths=WIDTHS, seeds=1, steps=5)
    counts = Counter((row.quantity, row.layer, row.step) for _, row in measured.rows)
    assert set(counts.values()) == {2}
    assert math.isnan(value(measured, "1", "weight-update", 5, WIDTHS[1]))
    assert math.isnan(value(measured, "1", "shrinkage", 5, WIDTHS[1]))
    assert math.isfinite(value(measured, "1", "weight-update", 5, WIDTHS[0]))
    assert not has(measured, "0", "initial-weight-on-change")


def test_a_compiled_model_gives_the_numbers_of_the_plain_one() -> None:
    calls: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    def outside(width: int) -> tuple[Any, ...]:
        model, optimizer, batch = factory(width)
        return torch.compile(model, backend=backend), optimizer, batch

    def inside(width: int) -> tuple[Any, ...]:
        model, optimizer, batch = factory(width)
        model[2] = torch.compile(model[2], backend=backend)
        model[4].compile(backend=backend)
        return model, optimizer, batch

    plain = measure(factory, widths=WIDTHS, seeds=1, steps=2)
    for compiled in (outside, inside):
        measured = measure(compiled, widths=WIDTHS, seeds=1, steps=2)
        assert [one.name for one in measured.layers] == [one.name for one in plain.layers]
        assert as_table(measured) == as_table(plain)
    assert not calls
    assert torch.compiler.is_compiling() is False


class Noisy(nn.Module):
    """Dropout and batch norm, in training mode."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read, self.norm, self.out = nn.Linear(5, width), nn.BatchNorm1d(width), nn.Linear(width, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return an output whose mask is drawn at every call."""
        return self.out(self.drop(torch.relu(self.norm(self.read(x)))))


def test_dropout_masks_do_not_change_between_passes() -> None:
    def still(width: int) -> tuple[Any, ...]:
        model = Noisy(width).double()
        return model, torch.optim.SGD(model.parameters(), lr=1e-300), (X, Y)  # moves nothing, and is not refused as 0

    measured = measure(still, widths=WIDTHS, seeds=1, steps=3)
    for width in WIDTHS:
        assert value(measured, "out", "preactivation-change", 3, width) == 0
        assert value(measured, "out", "preactivation", 0, width) > 0


def test_only_training_moves_the_buffers() -> None:
    models: list[Noisy] = []

    def kept(width: int) -> tuple[Any, ...]:
        models.append(Noisy(width).double())
        return models[-1], torch.optim.SGD(models[-1].parameters(), lr=0.1), (X, Y)

    measure(kept, widths=WIDTHS, seeds=1, steps=3)
    assert [int(model.norm.num_batches_tracked) for model in models] == [3, 3]


def test_modules_are_left_without_hooks_and_gradients_stay_on() -> None:
    models: list[nn.Module] = []

    def kept(width: int) -> tuple[Any, ...]:
        made = factory(width)
        models.append(made[0])
        return made

    measure(kept, widths=WIDTHS, seeds=1)
    assert all(
        not module._forward_pre_hooks and not module._forward_hooks for one in models for module in one.modules()
    )
    assert torch.is_grad_enabled()


def test_probe_rows_stand_for_the_batch() -> None:
    """A large batch is measured on some rows: of the size of the whole, and the same rows at every step."""
    many, targets = normal(400, 5), normal(400, 3, seed=1)

    def large(width: int) -> tuple[Any, ...]:
        return trained(mlp(width), (many, targets))

    measured = measure(large, widths=WIDTHS, seeds=1, steps=2)
    first = histories(large, WIDTHS[1], 0)[0]
    whole = rms(many @ first["0.weight"].T)
    assert value(measured, "0", "preactivation", 0) == pytest.approx(whole, rel=0.3)
    assert not has(measured, "0", "initial-weight-on-change")  # the same rows: the input does not change


def test_nothing_warns_in_half_precision() -> None:
    def half(width: int) -> tuple[Any, ...]:
        model = mlp(width).to(torch.bfloat16)
        return model, torch.optim.SGD(model.parameters(), lr=0.1), (X.bfloat16(), Y.bfloat16())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure(half, widths=WIDTHS, seeds=1, device=CPU)
    exact = measure(factory, widths=WIDTHS, seeds=1)
    assert value(measured, "2", "preactivation", 0) == pytest.approx(value(exact, "2", "preactivation", 0), rel=0.05)
