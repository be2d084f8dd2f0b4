"""What is not trained, or cannot be compared: said in words, never supported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import points
from torch import Tensor, nn
from torch.nn import functional

from tpbench.bench.claim import Verdict
from tpbench.check import Report, assert_parametrization, check
from tpbench.check.fault import Cause

WIDTHS = (16, 32, 64)
Built = tuple[Any, ...]


def model_of(width: int) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8))
    nn.init.normal_(model.get_parameter("4.weight"), std=1 / width)
    return model


def groups(model: nn.Sequential, width: int) -> list[dict[str, Any]]:
    """muP's rates for Adam."""
    slow = [model[2].weight, model[4].weight]
    rest = [one for one in model.parameters() if all(one is not other for other in slow)]
    return [{"params": slow, "lr": 0.01 * 16 / width}, {"params": rest, "lr": 0.01}]


def built(change: Callable[[nn.Sequential, list[dict[str, Any]]], None]) -> Callable[[int], Built]:
    def build(width: int) -> Built:
        model = model_of(width)
        chosen = groups(model, width)
        change(model, chosen)
        return model, torch.optim.Adam(chosen), points()

    return build


def checked(factory: Callable[[int], Built]) -> Report:
    return check(factory, "mup", widths=WIDTHS, seeds=2)


def nothing(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    """Change nothing."""


def warm_up(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    for group in chosen:
        group["lr"] = 0.0


def forget(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    chosen[0]["params"] = [model[4].weight]


def freeze(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    model[2].requires_grad_(False)


def freeze_all(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    model.requires_grad_(False)


def stop_one(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    chosen[0]["lr"] = 0.0


def spoil(model: nn.Sequential, chosen: list[dict[str, Any]]) -> None:
    nn.init.constant_(model.get_parameter("2.weight"), float("nan"))


def test_the_model_that_is_changed_below_has_nothing_to_tell() -> None:
    report = checked(built(nothing))
    assert report.verdict is not Verdict.REFUTED
    assert not report.findings
    assert not report.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (warm_up, "every learning rate is 0 at width 16.*warm-up scheduler"),
        (freeze_all, "all 6 parameters of width 16 are frozen"),
        (spoil, "not finite before the first step, first in layer 2:"),
    ],
)
def test_what_cannot_be_trained_is_an_error(change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(built(change))


def test_a_parameter_that_the_optimizer_lacks_refutes() -> None:
    report = checked(built(forget))
    assert report.judgement.result.verdict is not Verdict.REFUTED  # no exponent says so
    assert report.verdict is Verdict.REFUTED
    (finding,) = report.findings
    assert (finding.cause, finding.layers) == (Cause.FORGOTTEN, ("2.weight",))
    with pytest.raises(AssertionError, match=r"not in the optimizer: 2\.weight"):
        assert_parametrization(built(forget), "mup", widths=WIDTHS, seeds=2)


@pytest.mark.parametrize(
    ("change", "names", "why"),
    [
        (freeze, "2, 2.bias", "frozen (requires_grad is False)"),
        (stop_one, "2, 4", "its learning rate is 0"),
    ],
)
def test_a_note_says_why_a_parameter_did_not_move(change: Any, names: str, why: str) -> None:
    report = checked(built(change))
    assert report.verdict is not Verdict.REFUTED
    assert f"{names}: did not move: {why}; not judged" in report.notes


class Unread(nn.Module):
    """A layer whose output is multiplied by 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.used, self.unread, self.readout = nn.Linear(16, width), nn.Linear(16, width), nn.Linear(width, 8)
        nn.init.normal_(self.readout.weight, std=1 / width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout((self.used(x) + 0 * self.unread(x)).relu())
        return out


def test_a_zero_gradient_is_told_from_a_frozen_parameter() -> None:
    def build(width: int) -> Built:
        model = Unread(width)
        return model, torch.optim.Adam(model.parameters(), lr=0.001), points()

    assert any(note.startswith("unread: did not move: its gradient is 0") for note in checked(build).notes)


class Recurrent(nn.Module):
    """A recurrence by hand, whose first use of its matrix is of a state that is 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.again, self.readout = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(width, 8)
        nn.init.normal_(self.readout.weight, std=1 / width)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.again.in_features, device=x.device)
        for part in torch.split(x, 4, dim=1):
            state = (self.fc1(part) + functional.linear(state, self.again.weight)).tanh()
        out: Tensor = self.readout(state)
        return out


def test_a_use_of_nothing_is_no_parameter_that_did_not_move() -> None:
    def build(width: int) -> Built:
        model = Recurrent(width)
        model.again.bias = None  # type: ignore[assignment]
        return model, torch.optim.Adam(model.parameters(), lr=0.001), points()

    report = checked(build)
    first = next(layer.number for layer in report.measurements.layers if layer.name == "again")
    assert ("weight-update", first, 4) in report.judgement.silent
    assert not any("did not move" in note for note in report.notes)


def test_a_loss_of_other_arguments_is_told_how_it_is_called() -> None:
    def build(width: int) -> Built:
        model = model_of(width)
        loss = lambda network, batch: functional.cross_entropy(network(batch[0]), batch[1])  # noqa: E731
        return model, torch.optim.Adam(groups(model, width)), points(), loss

    with pytest.raises(ValueError, match=r"called as loss\(output, targets\)"):
        checked(build)


class Routed(nn.Module):
    """An expert that sees another number of examples at every pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.expert, self.readout = nn.Linear(16, width), nn.Linear(width, width), nn.Linear(width, 8)
        nn.init.normal_(self.readout.weight, std=1 / width)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x).relu()
        chosen = torch.arange(len(h) - self.passes % 3, device=h.device)
        self.passes += 1
        out: Tensor = self.readout(h.index_add(0, chosen, self.expert(h[chosen]).relu()))
        return out


def test_data_dependent_routing_is_noted_and_only_updates_are_judged() -> None:
    def build(width: int) -> Built:
        model = Routed(width)
        slow = [model.expert.weight, model.readout.weight]
        rest = [*model.fc1.parameters(), model.expert.bias, model.readout.bias]
        chosen = [{"params": slow, "lr": 0.01 * 16 / width}, {"params": rest, "lr": 0.01}]
        return model, torch.optim.Adam(chosen), points()

    report = checked(build)
    number = next(layer.number for layer in report.measurements.layers if layer.name == "expert")
    judged = {row.estimate.prediction.quantity for row in report.judged if row.estimate.prediction.layer == number}
    assert judged == {"preactivation", "weight-update"}
    assert report.verdict is not Verdict.REFUTED
    assert any(note.startswith("expert: other examples or tokens at every pass") for note in report.notes)


class Idle(nn.Module):
    """A layer that is left out of the second pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.expert, self.readout = nn.Linear(16, width), nn.Linear(width, width), nn.Linear(width, 8)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        self.passes += 1
        out: Tensor = self.readout(self.expert(h) if self.passes == 1 else h)
        return out


def test_an_idle_expert_is_refused_with_the_remedy() -> None:
    def build(width: int) -> Built:
        model = Idle(width)
        return model, torch.optim.Adam(model.parameters(), lr=0.001), points()

    with pytest.raises(ValueError, match="batch large enough for all experts"):
        checked(build)


def test_networks_of_one_width_must_use_the_same() -> None:
    def build(width: int) -> Built:
        bias = bool(torch.rand((), device="cpu") < 0.5)
        model = nn.Sequential(nn.Linear(16, width, bias=bias), nn.ReLU(), nn.Linear(width, 8))
        return model, torch.optim.Adam(model.parameters(), lr=0.001), points()

    with pytest.raises(ValueError, match=r"different seeds do not have the same uses.*0\.bias"):
        check(build, "mup", widths=WIDTHS, seeds=8)
