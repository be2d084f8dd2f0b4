"""The neurons of a layer become independent and identically distributed, at the start and all through training.

The coordinates of a program's vector x behave like independent copies of Z^x: for any fixed number of them, the joint
law comes to the product (Yang & Littwin 2023, arXiv:2308.01814; Yang & Hu 2021, arXiv:2011.14522, for muP). They are
identically distributed at every width, by symmetry, and depend on one another through what they share: averages over
all neurons, which fluctuate by n^(-1/2). So

* ``Cov(h_i(a) h_i(b), h_j(a) h_j(b))`` of two neurons falls like 1/n (derived here), at the start and after steps;
* any measure of their dependence that is 0 for independent variables alone falls to 0; HSIC here.

muP, in which features move by Θ(1), is where this could fail: all neurons learn from one error signal. The rival says
that the dependence stays, as between copies of one neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import sweep, table_of
from tpbench.parametrization import PARAMETRIZATIONS, equivalent

TABLE = "mup"
SETTINGS: Mapping[str, Any] = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "learning_rate": 0.25,
    "examples": 4,
    "train": 4,
    "steps": 4,
    "record": [0, 1, 4],
    "widest": None,
    "scatter": 0.0,
    "twins": False,
}


def predict(c: Config) -> tuple[Prediction, ...]:
    table = table_of(c)
    if not equivalent(table, PARAMETRIZATIONS[TABLE]):
        raise ValueError(f"{table.name!r} is not muP: the claim is about networks whose hidden layers all learn")
    joint = [Prediction(table.name, "neuron-cumulant", Kind.BIAS, -1.0, 0.0, 0.25, step=step) for step in c["record"]]
    tests = [
        Prediction(table.name, "pair-dependence", Kind.VALUE, 0.0, 1.0, 0.02, step=step)
        for step in (c["record"][0], c["record"][-1])
    ]
    return (*joint, *tests)


CLAIM = Claim(
    name="iid-coordinates",
    statement="Neurons of a muP network become independent, before training and all through it: joint cumulants of two "
    "fall like 1/n, and a measure of any dependence (HSIC) is below 1/50 of what copies have, extrapolated in width.",
    source="Yang & Littwin 2023, arXiv:2308.01814; Yang & Hu 2021, arXiv:2011.14522; rates derived",
    rival="Neurons stay dependent, as copies of one neuron are.",
    experiment="iid-coordinates",
    sweeps={
        "smoke": sweep((TABLE,), {16: 512, 32: 512, 64: 512, 128: 512}, SETTINGS),
        "nightly": sweep((TABLE,), {16: 2**14, 32: 2**14, 64: 2**14, 128: 2**13, 256: 2**11}, SETTINGS),
        "full": sweep((TABLE,), {16: 2**16, 32: 2**16, 64: 2**16, 128: 2**16, 256: 2**14, 512: 2**12}, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault("bottleneck", "no network is wider than 16 neurons", lambda c: {**c, "widest": 16}),
        Fault(
            "scattered-networks",
            "the neurons of every other network are 1.3 times as large, those of the rest 0.7 times",
            lambda c: {**c, "scatter": 0.3},
        ),
        Fault("twins", "the second half of the neurons repeats the first", lambda c: {**c, "twins": True}),
    ),
    figures=(Figure.CONVERGENCE,),
)
