"""The claims on contested points: their tables, what they predict, what they measure, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Agree
from tpbench.bench.claim import Point
from tpbench.bench.sweep import Selection
from tpbench.claims import CLAIMS
from tpbench.claims.adam_epsilon import GRADIENT
from tpbench.claims.config import config, rule_of
from tpbench.claims.experiments import run
from tpbench.claims.experiments.alignment import readout_alignment
from tpbench.claims.experiments.setup import setup, train_targets
from tpbench.claims.experiments.shrinkage import shrinkages
from tpbench.data import load
from tpbench.data.dataset import class_targets, regression_targets
from tpbench.networks.loss import loss
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import (
    ADAM,
    CONTESTED,
    NO_ALIGNMENT,
    Exponents,
    Family,
    Parametrization,
    Regime,
    Role,
    Rule,
    analyse,
    equivalent,
    exponent,
    named,
    with_maximal_rates,
)
from tpbench.pipeline import plan
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import MonteCarlo

CPU = torch.device("cpu")
ZERO, HALF, ONE = Fraction(0), Fraction(1, 2), Fraction(1)
NEW = (
    "adam-exponents",
    "readout-alignment",
    "cross-entropy-rate",
    "spectral-norms",
    "adam-epsilon",
    "weight-decay",
    "zero-readout",
)


class TestTables:
    @pytest.mark.parametrize("name", ["sp", "ntp", "mup"])
    def test_rates_for_adam_are_the_largest_stable_ones_of_every_layer(self, name: str) -> None:
        adam = named(f"{name}-adam")
        found = with_maximal_rates(named(name), 2, ADAM)
        assert replace(found, name=adam.name, source=adam.source) == adam
        assert with_maximal_rates(adam, 3, ADAM) == adam

    def test_mean_field_has_the_largest_rates_of_its_own_sizes(self) -> None:
        table = named("mean-field-adam")
        assert with_maximal_rates(table, 2, ADAM) == table
        assert [(e.a, e.b) for e in (table.input, table.hidden, table.output) if e] == [
            (ZERO, ZERO),
            (HALF, ZERO),
            (ONE, ZERO),
        ]

    def test_there_are_two_networks_and_not_four(self) -> None:
        """Adam's symmetry makes SP and NTP one network, and muP and mean field the other."""
        assert equivalent(named("sp-adam"), named("ntp-adam"), ADAM)
        assert equivalent(named("mup-adam"), named("mean-field-adam"), ADAM)
        assert not equivalent(named("sp-adam"), named("mup-adam"), ADAM)
        assert not equivalent(named("sp-adam"), named("ntp-adam")), "SGD has another symmetry"

    def test_their_regimes(self) -> None:
        regimes = {name: analyse(table, 2, ADAM).regime for name, table in CONTESTED.items() if name.endswith("adam")}
        assert regimes == {
            "sp-adam": Regime.UNSTABLE,
            "ntp-adam": Regime.UNSTABLE,
            "mup-adam": Regime.FEATURE_LEARNING,
            "mean-field-adam": Regime.FEATURE_LEARNING,
        }
        assert analyse(named("mup-adam"), 2, ADAM).maximal

    def test_a_rate_that_is_wrong_in_one_layer_is_not_maximal(self) -> None:
        table = named("mup-adam").replacing(Role.HIDDEN, c=HALF)
        assert with_maximal_rates(table, 2, ADAM) == named("mup-adam")
        assert not equivalent(table, named("mup-adam"), ADAM)


def predictions(name: str) -> dict[tuple[str, str, int, int], tuple[float, float]]:
    """Return (label, quantity, layer, step) -> (predicted, rival) of a claim's nightly run."""
    [job] = plan(Selection((name,), "nightly", "cpu"))
    return {(p.parametrization, p.quantity, p.layer, p.step): (p.predicted, p.rival) for p in job.predictions}


EXPECTED: Mapping[str, Mapping[tuple[str, str, int, int], tuple[float, float]]] = {
    "adam-exponents": {
        (table, "weight-update", layer, step): (0.0, -0.5)
        for table in ("sp-adam", "ntp-adam", "mup-adam", "mean-field-adam")
        for layer in (1, 2, 3)
        for step in (1, 5)
    },
    "readout-alignment": {
        ("sp-adam, fixed derivative", "initial-weight-on-change", 3, 20): (0.5, 0.0),
        ("sp-adam, cross-entropy", "initial-weight-on-change", 3, 1): (0.5, 0.0),
        ("mup-adam, cross-entropy", "initial-weight-on-change", 3, 20): (0.0, -0.5),
        ("sp-adam, cross-entropy", "readout-alignment", 3, 20): (0.0, -0.5),
    },
    "cross-entropy-rate": {
        ("sp-over-root-n, cross-entropy", "weight-update", 1, 3): (-1.0, -0.5),
        ("sp-over-root-n, cross-entropy", "weight-update", 2, 3): (0.0, 0.5),
        ("sp-over-root-n, cross-entropy", "output-change", 3, 3): (0.5, 1.0),
        ("sp-over-root-n, squared error", "weight-update", 2, 1): (0.0, 0.5),
        ("sp-over-root-n, squared error", "weight-update", 1, 2): (-0.5, -1.0),
        ("sp-over-root-n, squared error", "weight-update", 2, 2): (0.5, 0.0),
    },
    "spectral-norms": {
        ("mup", "initial-norm", 1, 0): (0.5, 1.0),
        ("mup", "initial-norm", 2, 0): (0.0, 0.5),
        ("mup", "initial-norm", 3, 0): (-0.5, 0.0),
        ("ntp", "initial-norm", 3, 0): (0.0, 0.5),
        ("mup", "update-norm", 1, 3): (0.5, 0.0),
        ("mup", "update-norm", 2, 3): (0.0, -0.5),
        ("mup", "update-norm", 3, 3): (-0.5, -1.0),
        ("ntp", "update-norm", 1, 3): (0.0, -0.5),
        ("ntp", "update-norm", 2, 3): (-0.5, -1.0),
        ("ntp", "update-norm", 3, 3): (-0.5, -1.0),
        ("mup, spectral descent", "update-norm", 3, 1): (-0.5, -1.0),
        ("ntp, spectral descent", "update-norm", 1, 1): (0.0, -0.5),
        ("ntp, spectral descent", "update-norm", 2, 1): (-0.5, -1.0),
    },
    "adam-epsilon": {
        ("mup-adam, constant epsilon", "weight-update", 1, 5): (-0.5, 0.0),
        ("mup-adam, constant epsilon", "weight-update", 2, 5): (-1.0, 0.0),
        ("mup-adam, constant epsilon", "weight-update", 3, 5): (-0.5, 0.0),
        ("mup-adam, scaled epsilon", "weight-update", 2, 1): (0.0, -1.0),
    },
    "weight-decay": {
        ("sp-adam, constant decay", "shrinkage", 1, 1): (0.0, -0.5),
        ("sp-adam, constant decay", "shrinkage", 2, 5): (-1.0, 0.0),
        ("mup-adam, constant decay", "shrinkage", 3, 5): (-0.5, 0.0),
        ("mup-adam, decay over rate", "shrinkage", 2, 5): (0.0, -1.0),
    },
    "zero-readout": {
        ("mup", "weight-update", 1, 2): (0.0, -0.5),
        ("ntp", "weight-update", 1, 2): (-1.0, -0.5),
        ("ntp", "weight-update", 2, 4): (-1.0, -0.5),
        ("ntp", "output-change", 3, 4): (0.0, -0.5),
        ("sp-over-n", "weight-update", 1, 2): (-2.0, -1.5),
    },
}
"""Worked out by hand from the papers' statements."""


@pytest.mark.parametrize("name", EXPECTED)
def test_predictions_are_those_of_the_papers(name: str) -> None:
    found = predictions(name)
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]


def test_the_output_of_sp_under_cross_entropy_is_not_predicted_after_the_first_step() -> None:
    """Where feedback and growth meet, the theory gives the alignment but no size."""
    found = predictions("readout-alignment")
    assert ("sp-adam, cross-entropy", "initial-weight-on-change", 3, 5) not in found
    assert ("sp-adam, cross-entropy", "readout-alignment", 3, 5) in found


def test_epsilon_follows_the_gradient_of_every_role_exactly() -> None:
    """A power that is smaller than the gradient's by 1/4 damps the layer by 1/4; a larger one changes nothing."""
    table, powers = named("mup-adam"), {Role(role): Fraction(power) for role, power in GRADIENT.items()}
    for layer, role in enumerate((Role.INPUT, Role.HIDDEN, Role.OUTPUT), start=1):
        for shift, damped in ((Fraction(-1, 4), Fraction(-1, 4)), (Fraction(0), Fraction(0)), (ONE, Fraction(0))):
            rule = Rule(Family.ADAM, epsilon={**powers, role: powers[role] + shift})
            assert exponent(table, "weight-update", depth=2, layer=layer, rule=rule) == damped


def test_the_rule_says_what_the_configuration_trains() -> None:
    assert rule_of(config()) == Rule()
    adam = config(optimizer="adam", epsilon=1.0, epsilon_powers={"hidden": "1/2"}, decay_powers={})
    rule = rule_of(adam)
    assert rule.family is Family.ADAM
    assert rule.epsilon == {Role.INPUT: 0, Role.HIDDEN: HALF, Role.OUTPUT: 0, Role.OUTPUT_BIAS: 0}
    assert rule.decay == dict.fromkeys(Role, Fraction(0))
    assert rule_of(config(optimizer="spectral", zero_output=True)) == Rule(Family.SPECTRAL, zero_output=True)


BLOWS_UP = Parametrization(
    "mine", "a test", *(Exponents(Fraction(0), b, Fraction(-1)) for b in (Fraction(0), HALF, ONE))
)


@pytest.mark.parametrize(
    ("name", "table", "changes", "why"),
    [
        ("adam-exponents", named("mup-adam"), {"optimizer": "sgd"}, "sign-like optimizers"),
        ("adam-exponents", BLOWS_UP, {}, "features grow like"),
        ("readout-alignment", named("mup-adam"), {"optimizer": "spectral"}, "sign-like optimizers"),
        ("cross-entropy-rate", named("mup"), {}, "output grows while features do not"),
        ("cross-entropy-rate", named("sp"), {}, "output grows while features do not"),
        ("zero-readout", named("mup"), {"zero_output": False}, "read-out starts at 0"),
        ("zero-readout", named("sp"), {}, "not stable"),
        ("weight-decay", named("mup-adam"), {"weight_decay": 0.0}, "has none"),
    ],
)
def test_claims_refuse_what_they_do_not_speak_of(
    name: str, table: Parametrization, changes: Mapping[str, Any], why: str
) -> None:
    sweep = CLAIMS[name].sweeps["smoke"]
    variant = next(iter(sweep.variants.values()))
    with pytest.raises(ValueError, match=why):
        CLAIMS[name].predict({**sweep.config, **variant, **changes, "parametrization": table.as_config()})


def test_without_epsilon_the_epsilon_claim_says_nothing() -> None:
    c = {k: v for k, v in CLAIMS["adam-epsilon"].sweeps["smoke"].config.items() if k != "epsilon"}
    with pytest.raises(ValueError, match="epsilon that the configuration names"):
        CLAIMS["adam-epsilon"].predict({**c, "parametrization": named("mup-adam").as_config()})


def test_the_unaligned_rates_of_the_planted_fault_are_larger_by_a_root() -> None:
    [fault] = CLAIMS["adam-exponents"].faults
    c = {**CLAIMS["adam-exponents"].sweeps["smoke"].config, "parametrization": named("sp-adam").as_config()}
    planted = fault.changes(c)["parametrization"]
    assert [planted[role]["c"] for role in ("input", "hidden", "output")] == ["0", "1/2", "1/2"]
    assert with_maximal_rates(named("sp-adam"), 2, Rule(Family.ADAM, NO_ALIGNMENT)).hidden.c == HALF  # type: ignore[union-attr]


class TestZeroOutput:
    MLP = Mlp(5, 2, 32, 2, "tanh", zero_output=True)

    def build(self, mlp: Mlp, lazy: bool) -> Ensemble:
        if lazy:
            return initialise_lazy(mlp, named("ntp"), MonteCarlo([3, 4]), device=CPU, dtype=torch.float64)
        return initialise(mlp, named("ntp"), [3, 4], device=CPU, dtype=torch.float64, keep_initial=True)

    @pytest.mark.parametrize("lazy", [False, True])
    def test_the_output_is_exactly_zero_and_features_are_those_of_a_random_readout(
        self, lazy: bool, normal: Any
    ) -> None:
        x = normal(4, 5)
        zero, usual = (forward(self.build(mlp, lazy), x) for mlp in (self.MLP, replace(self.MLP, zero_output=False)))
        assert not zero.output.any()
        assert usual.output.all()
        for one, other in zip(zero.activations, usual.activations, strict=True):
            assert torch.equal(one, other)

    def test_the_first_step_moves_the_readout_alone_and_the_second_all_layers(self, normal: Any) -> None:
        ensemble, task = self.build(self.MLP, lazy=False), Task(normal(4, 5), normal(4, 2, seed=1))
        moved = []
        for _ in train(ensemble, task, Sgd(0.5), batches(4, None, 2, seed=0)):
            weights = [layer.weights for layer in ensemble.layers]
            moved.append([not torch.equal(w.current, w.initial) for w in weights if isinstance(w, DenseGaussian)])
        assert moved == [[False, False, False], [False, False, True], [True, True, True]]


class TestTargets:
    def test_cross_entropy_compares_with_probabilities(self) -> None:
        c = config(outputs=10, loss="cross-entropy", examples=12, train=8)
        targets = train_targets(c)
        assert targets.shape == (8, 10)
        assert set(targets.ravel()) == {0.0, 1.0}
        assert (targets.sum(axis=1) == 1).all()
        centred = train_targets({**c, "loss": "mse"})
        np.testing.assert_allclose(targets - 0.1, centred, atol=1e-15)

    def test_its_derivative_sees_the_output_then(self) -> None:
        """Targets that sum to zero would make it the linear loss: no softmax is left of it."""
        dataset, output = load("digits", examples=6), torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(1, 6, 10)
        right, wrong = (torch.tensor(make(dataset, 10)) for make in (class_targets, regression_targets))
        gradient, linear = loss("cross-entropy").gradient, loss("linear").gradient
        assert torch.allclose(gradient(output, wrong), linear(output, wrong), atol=1e-15)
        assert not torch.allclose(gradient(output, right), linear(output, right), atol=1e-2)
        assert float(gradient(output, right).sum(-1).abs().max()) < 1e-15

    def test_other_numbers_of_outputs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="one output a class: data set 'digits' has 10 classes, and 1 outputs"):
            train_targets(config(loss="cross-entropy"))


class TestMeasurements:
    def ensemble(self, width: int, outputs: int = 3) -> Ensemble:
        mlp = Mlp(4, outputs, width, 2, "tanh", sigma_w=1.3)
        return initialise(mlp, named("sp-adam"), [0, 1], device=CPU, dtype=torch.float64, keep_initial=True)

    def test_the_cosine_is_that_of_a_plain_loop(self, normal: Any, agree: Agree) -> None:
        ensemble, x = self.ensemble(16), normal(5, 4)
        start = forward(ensemble, x)
        now = replace(start, activations=(start.activations[0], start.activations[1] + normal(2, 5, 16, seed=2)))
        found = {each.quantity: each for each in readout_alignment(ensemble, start, now)}
        assert [found[name].layer for name in ("activation-change", "readout-alignment")] == [2, 3]
        layer = ensemble.layers[-1]
        assert isinstance(layer.weights, DenseGaussian)
        for seed in (0, 1):
            w, moved = layer.multiplier * layer.weights.initial[seed], (now.activations[1] - start.activations[1])[seed]
            products = [float(row @ change) for row in w for change in moved]
            size = np.sqrt(np.mean(np.square(products)))
            lengths = float(w.square().mean().sqrt() * moved.square().mean().sqrt()) * 16
            agree(found["initial-weight-on-change"].values[seed], size, 1e-12)
            agree(found["readout-alignment"].values[seed], size / lengths, 1e-12)

    def test_it_is_one_where_all_agrees_and_a_root_where_nothing_does(self, normal: Any, agree: Agree) -> None:
        ensemble, x = self.ensemble(4096, outputs=1), normal(1, 4)
        start, readout = forward(ensemble, x), ensemble.layers[-1].weights
        assert isinstance(readout, DenseGaussian)
        found = []
        for change in (readout.initial, readout.initial[:, :, torch.randperm(4096, generator=_source())]):
            now = replace(start, activations=(start.activations[0], start.activations[1] + 0.1 * change))
            found.append([each.values for each in readout_alignment(ensemble, start, now)][-1])
        agree(found[0], torch.ones(2, dtype=torch.float64), 1e-12)
        assert float(found[1].abs().max()) < 5 / 4096**0.5

    def test_shrinkage_is_the_share_that_is_gone(self, agree: Agree, normal: Any) -> None:
        ensemble = self.ensemble(8)
        for number, layer in enumerate(ensemble.layers, start=1):
            weights = layer.weights
            assert isinstance(weights, DenseGaussian)
            weights.current.mul_(1 - 0.1 * number)
        assert [each.layer for each in shrinkages(ensemble)] == [1, 2, 3]
        for number, measured in enumerate(shrinkages(ensemble), start=1):
            agree(measured.values, torch.full((2,), 0.1 * number, dtype=torch.float64), 1e-12)

    @pytest.mark.parametrize("name", ["spectral-norms", "weight-decay"])
    def test_lazy_weights_are_refused_with_the_remedy(self, name: str) -> None:
        [job] = plan(Selection((name,), "smoke", "cpu"))
        point = job.points[0]
        lazy = replace(point, config={**point.config, "weights": "lazy", "dtype": "float64"})
        with pytest.raises(ValueError, match=r"never built: use dense weights"):
            list(run(lazy))


@pytest.mark.parametrize("name", NEW)
def test_what_is_predicted_is_measured(name: str) -> None:
    """One narrow run a configuration gives a row for every prediction."""
    [job] = plan(Selection((name,), "smoke", "cpu", seeds=2))
    narrowest = min(point.width for point in job.points)
    measured = set()
    for point in job.points:
        if point.width == narrowest:
            small = Point(point.experiment, point.parametrization, 24, point.seeds, point.config, point.code)
            assert setup(small).mlp.zero_output is point.config["zero_output"]
            measured |= {(point.parametrization, row.quantity, row.layer, row.step) for row in run(small)}
    assert {(p.parametrization, p.quantity, p.layer, p.step) for p in job.predictions} <= measured


def _source() -> torch.Generator:
    return torch.Generator(device=CPU).manual_seed(1)
