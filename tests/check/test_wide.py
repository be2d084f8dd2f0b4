"""Networks at lazy widths: measured like dense ones of their width, by hand and in law; verdicts; what is refused."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import models
import mup
import pytest
import torch
from by_hand import CPU, layer, normal, rms, value
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

from tpbench.bench.claim import Verdict
from tpbench.check import assert_parametrization, check
from tpbench.check.factory import build, parameter_names
from tpbench.check.measure import follow, measure
from tpbench.check.measurements import Measurements
from tpbench.check.settings import settings_of
from tpbench.check.show import as_json, text
from tpbench.check.wide import Like, build_wide
from tpbench.cli import app
from tpbench.weights.matrix import LazyMatrix

X, Y = normal(12, 16), normal(12, 16, seed=1)
SMALL: dict[str, Any] = {"widths": (32, 64), "seeds": 1, "wide": (512,), "wide_seeds": 1, "steps": 2}
Made = tuple[Any, ...]


def mlp(width: int) -> nn.Sequential:
    """Return a perceptron of which few models tell the law of its entries: no biases, 16 outputs."""
    sizes = (16, width, width, 16)
    layers = [nn.Linear(one, two, bias=False) for one, two in pairwise(sizes)]
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2]).double()


def trained(width: int, model: nn.Module, hidden: float = 1.0, *rest: Any, **options: float) -> Made:
    """Return a muP network: deviations 16^(-1/2), n^(-1/2) and 1/n, rates n, 1 and 1/n, ``hidden`` times the second."""
    weights = list(model.parameters())
    for weight, std in zip(weights, (0.25, width**-0.5, 1 / width), strict=True):
        nn.init.normal_(weight, std=std)
    rates = (0.1 * width, 0.2 * hidden, 0.3 / width)
    groups = [{"params": [one], "lr": rate} for one, rate in zip(weights, rates, strict=True)]
    return (model, torch.optim.SGD(groups, lr=1.0, **options), (X, Y), *rest)


def mup_factory(width: int) -> Made:
    return trained(width, mlp(width))


def standard(width: int) -> Made:
    model = mlp(width)
    return model, torch.optim.SGD(model.parameters(), lr=0.01), (X, Y)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_change_are_those_of_the_matrices_written_out() -> None:
    """W_0 before training and W_t after it, with momentum and decay, all entries asked for."""

    def decayed(width: int) -> Made:
        return trained(width, mlp(width), momentum=0.9, weight_decay=0.1)

    network = build_wide(decayed, 64, 3, Like.of(build(decayed, 16, 0, CPU, None)))
    matrix = network.model[2].weight
    assert isinstance(matrix, LazyMatrix)
    with torch.no_grad():
        start, x_0 = matrix.materialise(), network.model[:2](X)
    settings = settings_of(network.optimizer.param_groups, parameter_names(network.model))
    found = follow(network, 3, (0, 3), settings)
    number = [use.name for use in found.uses].index("2")
    with torch.no_grad():
        end, x_t = matrix.materialise(), network.model[:2](X)
    wanted = {
        "weight-update": x_t @ (end - start).T,
        "initial-weight-on-change": (x_t - x_0) @ start.T,
        "preactivation-change": x_t @ end.T - x_0 @ start.T,
    }
    for quantity, change in wanted.items():
        assert found.numbers[number, quantity, 3] == pytest.approx(rms(change), rel=1e-9), quantity
    assert found.numbers[number, "preactivation", 0] == pytest.approx(rms(x_0 @ start.T), rel=1e-9)


def test_gradients_of_all_entries_come_from_factors() -> None:
    network = build_wide(mup_factory, 64, 0, Like.of(build(mup_factory, 16, 0, CPU, None)))
    start = network.model[2].weight.materialise()
    settings = settings_of(network.optimizer.param_groups, parameter_names(network.model))
    found = follow(network, 1, (0, 1), settings)
    number = [use.name for use in found.uses].index("2")
    moved = network.model[2].weight.materialise() - start
    assert found.numbers[number, "gradient", 0] == pytest.approx(rms(moved) / 0.2, rel=1e-9)


def seen(measured: Measurements, width: int) -> dict[tuple[int, str, int], Tensor]:
    found: dict[tuple[int, str, int], list[float]] = {}
    for at, row in measured.rows:
        if at == width:
            found.setdefault((row.layer, row.quantity, row.step), []).append(row.value)
    return {key: torch.tensor(values, dtype=torch.float64, device=CPU) for key, values in found.items()}


def strangest(one: Measurements, other: Measurements, width: int) -> float:
    """Return the largest difference of a mean, in standard errors and 2% for the laws, which are measured."""
    here, there = seen(one, width), seen(other, width)
    distances = []
    for key in here.keys() & there.keys():
        mean, wanted = here[key].mean(), there[key].mean()
        errors = sum(float(values.var()) / len(values) for values in (here[key], there[key]))
        distances.append(float(abs(mean - wanted)) / (math.sqrt(errors) + 0.02 * float(wanted) / 4.5))
    return max(distances)


def test_lazy_and_dense_networks_of_one_width_have_one_law_and_a_wrong_rate_is_seen() -> None:
    dense = measure(mup_factory, widths=(32, 256), seeds=16, steps=3)
    asked: dict[str, Any] = {"widths": (32, 64), "seeds": 1, "wide": (256,), "wide_seeds": 16, "steps": 3}
    lazy = measure(mup_factory, **asked)
    assert len(seen(lazy, 256)) == len(seen(dense, 256)) - 2  # without the lazy weight's size and expected start
    assert all(len(set(values.tolist())) == 16 for key, values in seen(lazy, 256).items() if key[1] != "input")
    assert strangest(lazy, dense, 256) < 4.5
    wrong = measure(lambda n: trained(n, mlp(n), 1.5 if n == 256 else 1.0), **asked)
    assert strangest(wrong, dense, 256) > 9


def test_records_draw_nothing_and_do_not_disturb() -> None:
    options = SMALL | {"steps": 3}
    seldom, often = (seen(measure(mup_factory, record=r, **options), 512) for r in ((0, 3), (0, 1, 2, 3)))
    backward = ("gradient", "loss-derivative")  # of every step
    assert seldom.keys() == {key for key in often if key[2] in (0, 3) or key[1] in backward}
    for key, values in seldom.items():
        assert values.item() == pytest.approx(often[key].item(), rel=1e-9), key


def test_rows_and_settings_are_complete_and_places_are_those_of_dense_widths() -> None:
    measured = measure(mup_factory, **SMALL)
    assert (measured.widths, measured.wide, measured.wide_seeds) == ((32, 64, 512), (512,), 1)
    assert measured.layers == measure(mup_factory, widths=(32, 64), seeds=1, steps=2).layers
    counts = Counter((row.layer, row.quantity, row.step) for _, row in measured.rows)
    lacking = {key for key, count in counts.items() if count != 3}
    assert lacking == {(layer(measured, "2").number, what, 0) for what in ("expected-preactivation", "initial-weight")}
    assert measured.scalings["0.weight"].rate == {32: 3.2, 64: 6.4, 512: 51.2}
    assert value(measured, "4", "expected-preactivation", 0, 512) > 0


def test_the_loss_is_the_one_of_the_lazy_width() -> None:
    called: list[int] = []

    def weighted(width: int) -> Made:
        def loss(output: Tensor, targets: Tensor) -> Tensor:
            called.append(width)
            return (output - targets).square().mean()

        return trained(width, mlp(width), 1.0, loss)

    measure(weighted, **SMALL)
    assert Counter(called) == {32: 2, 64: 2, 512: 2}


def test_a_batch_drawn_inside_of_the_factory_is_the_one_of_the_first_network() -> None:
    def drawing(width: int) -> Made:
        model, optimizer, _ = mup_factory(width)
        return model, optimizer, (torch.randn(12, 16, dtype=torch.float64), Y)

    measured = measure(drawing, **SMALL)
    sizes = [value(measured, "0", "input", 0, width) for width in measured.widths]
    assert sizes[0] > 0
    assert sizes == [sizes[0]] * 3


def test_a_lazy_network_that_diverges_has_nan() -> None:
    def wild(width: int) -> Made:
        linear = nn.Sequential(*[layer for layer in mlp(width) if isinstance(layer, nn.Linear)])
        return trained(width, linear, 1e200 if width == 512 else 1.0)

    measured = measure(wild, **SMALL | {"steps": 3})
    assert math.isnan(value(measured, "1", "weight-update", 3, 512))
    assert math.isfinite(value(measured, "1", "weight-update", 3, 64))


# -- verdicts ---------------------------------------------------------------------------------------------------------

FAR: dict[str, Any] = {"widths": (64, 128, 256, 512), "seeds": 3, "wide": (2048, 8192)}


MUPS = (mup_factory, models.multipliers, partial(models.mup_package, optimizer=partial(mup.MuSGD, lr=0.1)))


@pytest.mark.parametrize("factory", MUPS, ids=["rates", "multipliers", "package"])
def test_mup_is_supported_to_lazy_widths(factory: Callable[[int], Made]) -> None:
    report = check(factory, **FAR)
    assert report.verdict is Verdict.SUPPORTED, text(report)
    assert all(8192 in row.estimate.widths for row in report.judged if row.estimate.prediction.step > 0)


def test_the_standard_parametrization_is_refuted_by_lazy_widths() -> None:
    report = check(standard, **FAR)
    assert report.verdict is Verdict.REFUTED
    assert {"2", "4"} & {name for finding in report.findings for name in finding.layers}


def test_a_fault_that_begins_beyond_the_dense_widths_is_seen() -> None:
    def late(width: int) -> Made:
        return trained(width, mlp(width), 1.0 if width < 1000 else width / 512)

    assert check(late, **FAR).verdict is Verdict.REFUTED
    assert check(late, **FAR | {"wide": ()}).verdict is not Verdict.REFUTED


def test_the_assertion_takes_lazy_widths() -> None:
    assert assert_parametrization(mup_factory, **FAR).measurements.wide == (2048, 8192)
    with pytest.raises(AssertionError, match="lazy 2048, 8192, 2 seeds"):
        assert_parametrization(standard, **FAR)


def test_the_report_tells_lazy_widths() -> None:
    report = check(mup_factory, **SMALL | {"seeds": 2, "wide_seeds": 2})
    assert "widths 32, 64, 2 seeds, lazy 512, 2 seeds" in " ".join(text(report).split())
    told = as_json(report)
    assert (told["widths"], told["wide"], told["wide_seeds"]) == ([32, 64, 512], [512], 2)


# -- refusals ---------------------------------------------------------------------------------------------------------


class Raw(nn.Module):
    """A hidden weight of the user's own, used by ``product(x, weight)``."""

    def __init__(self, width: int, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(16, width, bias=False), nn.Linear(width, 16, bias=False)
        self.weight = nn.Parameter(torch.empty(width, width).normal_() / width**0.5)
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        out: Tensor = self.out(self.product(self.read(x), self.weight))
        return out


@pytest.mark.parametrize(
    ("product", "told"),
    [
        (lambda x, weight: x @ weight, r"does not show the use of weight; the operator @.*nn.Linear"),
        (
            lambda x, weight: torch.matmul(x, weight),
            r"weight, lazy at shape .512, 512., is used by a matmul.*nn.Linear",
        ),
        (lambda x, weight: functional.linear(x, weight.T), r"by a linear of its transpose.*nn.Linear"),
    ],
)
def test_uses_that_cannot_be_measured_are_refused(product: Callable[[Tensor, Tensor], Tensor], told: str) -> None:
    def raw(width: int) -> Made:
        model = Raw(width, product).double()
        return model, torch.optim.SGD(model.parameters(), lr=0.1), (X, Y)

    with pytest.raises(ValueError, match=told):
        measure(raw, **SMALL)


def test_other_optimizers_are_refused_before_the_work() -> None:
    done: list[int] = []
    with pytest.raises(ValueError, match=r"trained by SGD, and the factory's optimizer is Adam.*dense widths alone"):
        measure(models.mlp_adam, progress=lambda count, _: done.append(count), **SMALL | {"seeds": 4})
    assert done == [1]


def test_a_loss_without_values_is_told() -> None:
    def holding(width: int) -> Made:
        weights = torch.arange(16.0)
        return trained(width, mlp(width), 1.0, lambda output, targets: ((output - targets) * weights).square().mean())

    with pytest.raises(ValueError, match=r"the loss.*lazy width 512.*make the tensors that the loss holds outside"):
        measure(holding, **SMALL)


@pytest.mark.parametrize("change", [{"wide": (64,)}, {"wide": (16, 512)}, {"wide_seeds": 0}])
def test_lazy_widths_lie_beyond_dense_ones(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"lie beyond the dense widths, here 64, and have at least 1 seed"):
        measure(mup_factory, **SMALL | change)


MINE = """
import torch
from torch import nn


def build(width, optimizer=torch.optim.SGD):
    layers = [nn.Linear(8, width, bias=False), nn.Linear(width, width, bias=False), nn.Linear(width, 4, bias=False)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    nn.init.normal_(model[4].weight, std=1 / width)
    rates = (0.1 * width, 0.1, 0.1 / width)
    return model, optimizer([{"params": [p], "lr": lr} for p, lr in zip(model.parameters(), rates)], lr=0.1)


def by_adam(width):
    return build(width, torch.optim.Adam)
"""


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)

    def ask(name: str, *words: str) -> Any:
        small = ("--widths", "32,64", "--seeds", "2", "--steps", "2", "--device", "cpu")
        return CliRunner().invoke(app, ["check", f"{tmp_path}/mine.py:{name}", *small, *words])

    right = ask("build", "--wide", "512", "--json")
    assert right.exit_code == 0, right.output
    assert json.loads(right.stdout)["wide"] == [512]
    for name, wide, told in (
        ("by_adam", "512", "optimizer is Adam"),
        ("build", "2^17", "--wide are whole numbers"),
        ("build", "48", "lie beyond the dense widths"),
    ):
        refused = ask(name, "--wide", wide)
        assert refused.exit_code == 2, refused.output
        assert told in " ".join(refused.stderr.split())
