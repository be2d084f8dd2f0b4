"""Factories: what they may return, what stands in for the rest, and what is refused with its remedy."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from by_hand import CPU, WIDTHS, normal, numbers, trained
from torch import Tensor, nn
from torch.nn import functional

from tpbench.check.batches import batch_of, make_batch, shapes_of
from tpbench.check.factory import build, parameter_names
from tpbench.check.losses import default_loss, prediction_of
from tpbench.check.measure import measure
from tpbench.check.settings import family_of, settings_of

X, Y = normal(6, 5), normal(6, 3, seed=1)


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))


class Strange:
    param_groups: tuple[Any, ...] = ()

    def step(self) -> None:
        """Do nothing."""

    def zero_grad(self) -> None:
        """Do nothing."""


RETURNED: dict[str, tuple[Any, str]] = {
    "model alone": (lambda w: mlp(w), "a factory returns .model, optimizer.*this one returned Sequential at width 8"),
    "five": (lambda w: (*trained(mlp(w), X), 1, 2), "returned 5 things"),
    "no module": (lambda w: (w, None), "first of what came at width 8 is no nn.Module: int"),
    "no optimizer": (lambda w: (mlp(w), [1]), "no torch optimizer: list.*Wrap several optimizers"),
    "another's": (
        lambda w: (mlp(w), torch.optim.SGD(mlp(w).parameters(), lr=1.0), X),
        "holds 4 parameters, and none of them is the model's",
    ),
    "loss": (lambda w: trained(mlp(w), X, 3.0), "the loss is no function but float"),
    "batch": (lambda w: trained(mlp(w), "text"), "the factory's batch is str without a tensor"),
    "batches": (lambda w: trained(mlp(w), normal(w, 5)), "shapes .*16, 5.* at width 16 and .*8, 5"),
    "vector loss": (lambda w: trained(mlp(w), (X, Y), lambda o, t: o - t), r"the loss is \(6, 3\), not one number"),
    "float loss": (lambda w: trained(mlp(w), (X, Y), lambda o, t: 1.0), "the loss is float, not one number"),
    "wants": (lambda w: trained(nn.Sequential(nn.LayerNorm(5), mlp(w))), "belong to LayerNorm: return .model"),
    "optimizer": (
        lambda w: ((m := mlp(w)), torch.optim.LBFGS(m.parameters()), X.float()),
        "updates of the optimizer LBFGS grow is not known: say family='sgd'",
    ),
}


@pytest.mark.parametrize("case", RETURNED)
def test_what_a_factory_returns_wrongly_is_said_with_the_remedy(case: str) -> None:
    factory, message = RETURNED[case]
    with pytest.raises(ValueError, match=message):
        measure(factory, widths=WIDTHS, seeds=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [8]}, "at least two different positive ones"),
        ({"widths": [8, 8]}, "at least two different"),
        ({"widths": [0, 8]}, "positive"),
        ({"seeds": 0}, "seeds is 0 and steps is 4: both must be at least 1"),
        ({"steps": 0}, "seeds is 1 and steps is 0"),
        ({"record": [1, 2]}, r"record is \[1, 2\] of 4 steps: give 0"),
        ({"record": [0, 9]}, "at least one of 1 to 4"),
        ({"record": [0]}, "at least one of 1 to 4"),
        ({"family": "adamw"}, "family is 'adamw', and there is no such family.*adam, sgd, spectral"),
    ],
)
def test_wrong_requests_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(lambda w: trained(mlp(w), (X, Y)), **{"widths": WIDTHS, "seeds": 1, **options})


def test_batches_are_pairs_arguments_or_names() -> None:
    assert shapes_of(batch_of((X, Y))) == ((6, 5), (6, 3))
    assert batch_of(X).targets is None
    assert len(batch_of((X, Y, X)).positional) == 3
    named = batch_of(OrderedDict(x=X, y=Y))
    assert (list(named.named), named.targets) == (["x", "y"], None)
    both = batch_of(((X, Y), Y))
    assert (len(both.positional), both.targets) == (2, Y)


@pytest.mark.parametrize(
    ("first", "shape"),
    [
        (nn.Linear(5, 8), (16, 5)),
        (nn.Embedding(9, 8), (4, 16)),
        (nn.Conv1d(2, 8, 3), (8, 2, 16)),
        (nn.Conv2d(2, 8, 3), (8, 2, 16, 16)),
        (nn.Conv3d(2, 8, 3), (8, 2, 16, 16, 16)),
    ],
)
def test_a_batch_is_made_as_the_first_parameter_wants_it(first: nn.Module, shape: tuple[int, ...]) -> None:
    made = make_batch(nn.Sequential(nn.Identity(), first)).positional[0]
    assert tuple(made.shape) == shape
    assert torch.equal(made, make_batch(first).positional[0])
    first(made)


def test_every_width_and_seed_sees_the_first_batch_and_weights_of_its_seed() -> None:
    seen = []

    def factory(width: int) -> tuple[Any, ...]:
        model = mlp(width)
        seen.append(model)
        return trained(model, (torch.randn(6, 5, dtype=torch.float64, device=CPU), Y))

    network = build(factory, 8, 3, CPU, None)
    other = build(factory, 16, 4, CPU, network.batch)
    assert other.batch is network.batch
    torch.manual_seed(3)
    assert torch.equal(next(mlp(8).parameters()).double(), next(network.model.parameters()))


def test_the_callers_generator_is_unchanged_and_does_not_matter() -> None:
    def run() -> list[float]:
        measured = measure(lambda w: trained(mlp(w), (X, Y)), widths=WIDTHS, seeds=2)
        return [row.value for _, row in measured.rows]

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = run()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert run() == first


def test_losses_follow_the_targets() -> None:
    assert default_loss(X, X + 2).item() == pytest.approx(2.0)
    classes = numbers(5, 2, 3)
    logits = normal(2, 3, 5)
    wanted = functional.cross_entropy(logits.reshape(6, 5), classes.reshape(6))
    assert default_loss(logits, classes).item() == pytest.approx(wanted.item())
    output = X.clone().requires_grad_()
    default_loss(output, None).backward()
    assert output.grad is not None
    assert torch.equal(output.grad.abs(), torch.full_like(X, 1 / X.numel()))
    assert 0 < (output.grad > 0).sum() < X.numel()
    assert default_loss(SimpleNamespace(loss=torch.tensor(3.0, device=CPU), logits=X), None).item() == 3.0


@pytest.mark.parametrize(
    ("output", "targets", "message"),
    [
        (X, Y, r"targets of shape \(6, 3\) do not fit an output of shape \(6, 5\)"),
        (X, numbers(5, 7), r"integer targets of shape \(7,\) do not fit"),
        (X, X > 0, "no loss is known for targets of torch.bool"),
        (X, ["a"], "the targets are list, no tensor"),
        ("text", None, "the model's output is str, in which no prediction"),
        ({"a": 1}, None, "output is dict"),
    ],
)
def test_losses_that_cannot_be_chosen_say_so(output: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default_loss(output, targets)


def test_the_prediction_is_found_in_objects_dictionaries_and_tuples() -> None:
    for output in (X, SimpleNamespace(logits=X), {"hidden": Y, "logits": X}, {"x": X}, (X, Y), [None, X]):
        assert prediction_of(output) is X


def test_settings_are_read_from_the_groups() -> None:
    model = mlp(8)
    groups = [
        {"params": [model[0].weight], "lr": 0.5, "weight_decay": 0.1},
        {"params": [model[0].bias], "lr": torch.tensor(0.25, device=CPU), "eps": 1e-6},
    ]
    found = settings_of(groups, parameter_names(model))
    one, other, left = found["0.weight"], found["0.bias"], found["2.weight"]
    assert (one.rate, one.decay, one.epsilon) == (0.5, 0.1, 0.0)
    assert (other.rate, other.decay, other.epsilon) == (0.25, 0.0, 1e-6)
    assert (left.rate, left.decay, left.epsilon) == (0.0, 0.0, 0.0)


def test_scalings_are_by_parameter_and_width() -> None:
    def factory(width: int) -> tuple[Any, ...]:
        model = mlp(width)
        return model, torch.optim.AdamW(model.parameters(), lr=1 / width, weight_decay=width), X.float()

    measured = measure(factory, widths=WIDTHS, seeds=1)
    scaling = measured.scalings["2.weight"]
    assert scaling.rate == {8: 1 / 8, 16: 1 / 16}
    assert scaling.decay == {8: 8.0, 16: 16.0}
    assert scaling.epsilon == {8: 1e-8, 16: 1e-8}


@pytest.mark.parametrize(
    ("name", "family"),
    [("SGD", "sgd"), ("AdamW", "adam"), ("RMSprop", "adam"), ("Adagrad", "adam"), ("Adamax", "adam")],
)
def test_optimizers_of_torch_have_a_family(name: str, family: str) -> None:
    optimizer = getattr(torch.optim, name)([nn.Parameter(torch.ones(2, device=CPU))], lr=0.1)
    assert family_of(optimizer) == family


def test_families_follow_names_of_classes_and_their_bases_and_what_is_told() -> None:
    class MuonWithDecay(Strange):
        """An optimizer of another library."""

    class Mine(torch.optim.SGD):
        """A user's own."""

    assert family_of(MuonWithDecay()) == "spectral"
    assert family_of(Mine([nn.Parameter(torch.ones(2, device=CPU))], lr=0.1)) == "sgd"
    assert family_of(Strange(), "adam") == "adam"
    with pytest.raises(ValueError, match="updates of the optimizer Strange grow is not known"):
        family_of(Strange())


def test_models_may_take_names_and_return_objects() -> None:
    class Named(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.body = mlp(width)

        def forward(self, x: Tensor, scale: float) -> Any:
            return SimpleNamespace(logits=self.body(x * scale))

    measured = measure(
        lambda w: trained(Named(w), ({"x": X, "scale": 0.5}, numbers(3, 6))), widths=WIDTHS, seeds=1, steps=1
    )
    assert [one.name for one in measured.layers] == ["body.0", "body.0.bias", "body.2", "body.2.bias"]
