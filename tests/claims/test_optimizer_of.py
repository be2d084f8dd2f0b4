"""From a configuration's words to the optimizer, and the words that are refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tpbench.claims.config import config
from tpbench.claims.experiments.setup import optimizer_of
from tpbench.networks.factors import Optimizer
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd
from tpbench.parametrization import Role

SHARED = {"learning_rate": 0.1, "weight_decay": 0.2, "batch": 4, "loss": "cross-entropy"}
ADAM: dict[str, Any] = {
    "betas": [0.8, 0.9],
    "epsilon": 1e-3,
    "epsilon_powers": {"hidden": "1/2", "output_bias": -1},
    "decoupled": False,
    "decay_powers": {},
}
CASES: list[tuple[dict[str, Any], Optimizer]] = [
    ({"momentum": 0.5}, Sgd(0.1, 0.5, 0.2, 4, "cross-entropy")),
    ({"optimizer": "sign"}, SignDescent(0.1, 0.2, 4, "cross-entropy")),
    ({"optimizer": "spectral"}, Spectral(0.1, 0.2, 4, "cross-entropy")),
    ({"optimizer": "adam"}, Adam(0.1, weight_decay=0.2, batch=4, loss="cross-entropy")),
    (
        {"optimizer": "adam", "base_width": 64, **ADAM},
        Adam(
            0.1,
            (0.8, 0.9),
            1e-3,
            0.2,
            decoupled=False,
            batch=4,
            loss="cross-entropy",
            epsilon_powers={Role.HIDDEN: Fraction(1, 2), Role.OUTPUT_BIAS: Fraction(-1)},
            decay_powers={},
            base_width=64,
        ),
    ),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_every_word_reaches_the_optimizer(words: dict[str, Any], expected: Optimizer) -> None:
    assert optimizer_of(config(**SHARED, **words)) == expected


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'"),
    ({"optimizer": "sign", "momentum": 0.9}, "momentum is of the optimizer 'sgd' alone, got 0.9 with 'sign'"),
    ({"epsilon": 1e-3}, "the optimizer 'sgd' does not read epsilon: leave them out"),
    ({"optimizer": "adam", "epsilon_powers": {"hiden": 1}}, "powers are a table from the roles input, hidden,"),
    ({"optimizer": "adam", "decay_powers": {"hidden": "x"}}, "to numbers or fractions"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_words_that_nobody_reads_are_errors(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer_of(config(**SHARED, **words))
