"""Taylor models against width: what the mirror image cancels, what is refused, and one network done by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tpbench.bench.claim import Config, Point
from tpbench.claims.config import config
from tpbench.claims.experiments.higher_order import DIFFERENCES, mirrored, run
from tpbench.claims.experiments.setup import setup
from tpbench.claims.higher_order_ntk import CLAIM, SETTINGS, predict
from tpbench.networks.mlp import forward
from tpbench.networks.taylor import begin, expand, train
from tpbench.parametrization import PARAMETRIZATIONS
from tpbench.parametrization.catalogue import NTP_TO_MUP

Agree = Callable[..., None]
SEEDS = (0, 1, 2)
ORDERS = {"linear": 1, "quadratic": 2, "cubic": 3, "network": None}


def configured(name: str = "s-1", **changes: Any) -> Config:
    return config(**{**SETTINGS, "parametrization": NTP_TO_MUP[name].as_config(), **changes})


def measured(c: Config, width: int = 64) -> dict[tuple[str, int], np.ndarray]:
    """Return (difference, step) -> values (seed, example)."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in run(Point("higher-order", "table", width, SEEDS, c, "test")):
        found.setdefault((row.quantity, row.step), []).append(row.value)
    return {key: np.reshape(values, (len(SEEDS), -1)) for key, values in found.items()}


def test_differences_are_those_of_two_trainings_averaged(agree: Agree) -> None:
    c = configured()
    found, r = measured(c), setup(Point("higher-order", "table", 64, SEEDS, c, "test"))
    ends: dict[str, list[torch.Tensor]] = {name: [] for name in ORDERS}
    ensemble = r.initialise(SEEDS)
    for each in (ensemble, mirrored(ensemble)):
        for name, order in ORDERS.items():
            model = begin(expand(each, r.inputs, 3), order)
            *_, last = train(model, r.targets, learning_rate=c["learning_rate"], steps=c["steps"], centred=True)
            ends[name].append(last[..., 0])
    for one, other in DIFFERENCES:
        gap = sum(a - b for a, b in zip(ends[one], ends[other], strict=True)) / 2
        agree(found[f"{one}-{other}", c["steps"]], gap, 1e-12)


def test_a_mirror_image_is_the_network_with_the_other_read_out(agree: Agree) -> None:
    r = setup(Point("higher-order", "table", 16, SEEDS, configured(), "test"))
    ensemble = r.initialise(SEEDS)
    here, there = (forward(each, r.inputs) for each in (ensemble, mirrored(ensemble)))
    agree(there.output, -here.output, 1e-14)
    agree(there.activations[-1], here.activations[-1], 1e-14)
    assert forward(ensemble, r.inputs).output.abs().min() > 0


def test_the_first_step_leaves_terms_of_odd_order_alone(agree: Agree) -> None:
    """After one step all models stand at one point and the quadratic term is odd in the read-out: it cancels, and
    the network leaves the quadratic model by what it leaves the linear one. A mirror image that is none would not do.
    """
    found = measured(configured(steps=1, record=[1]))
    scale = np.abs(found["network-quadratic", 1]).max()
    assert scale > 1e-4
    assert np.abs(found["quadratic-linear", 1]).max() < 1e-10 * scale
    later = measured(configured(steps=2, record=[2]))
    assert np.abs(later["quadratic-linear", 2]).max() > 1e-4


def test_weights_of_terms_change_the_models_and_not_the_network() -> None:
    right, wrong = measured(configured()), measured(configured(term_weights=[1, 1, 2]))
    assert np.array_equal(right["quadratic-linear", 3], wrong["quadratic-linear", 3])
    assert np.array_equal(right["network-quadratic", 3], wrong["network-quadratic", 3])
    assert not np.allclose(right["network-cubic", 3], wrong["network-cubic", 3], rtol=0.1)


def test_models_differ_and_the_network_from_them_at_once() -> None:
    """The exponents of both are 0 at muP and at no other place."""
    for name in NTP_TO_MUP:
        powers = {p.quantity: p.predicted for p in predict(configured(name))}
        assert powers["quadratic-linear"] == powers["network-quadratic"]
        assert (powers["quadratic-linear"] == 0) == (powers["network-cubic"] == 0) == (name == "s-1")


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie on the segment"):
        predict({**configured(), "parametrization": PARAMETRIZATIONS["sp-over-n"].as_config()})
    for changes in ({"momentum": 0.5}, {"train": 2}, {"optimizer": "sign"}):
        with pytest.raises(ValueError, match="plain gradient descent on all examples"):
            measured(configured(**changes))


def test_faults_change_what_they_say() -> None:
    c = configured("s-0.25")
    changed = {fault.name: fault.changes(c) for fault in CLAIM.faults}
    assert changed["other-end"]["parametrization"]["name"] == "s-0.75"
    assert changed["no-factorials"]["term_weights"] == [1, 2, 6]
    assert changed["other-rate"]["rate_of_models"] == pytest.approx(1.1)
