"""The abc symmetry: a shift of a layer's exponents writes the same network differently, at every width.

``(a_l, b_l, c_l) -> (a_l + θ, b_l - θ, c_l - 2θ)`` changes neither the function nor its training by SGD, for each layer
alone (arXiv:2011.14522, section 3): the multiplier enters once in the forward pass and once more in the gradient.
Optimizers that normalise the gradient (sign descent, Adam, spectral descent) lose the second factor, and their symmetry
is ``c_l - θ`` (Yang & Littwin 2023, arXiv:2308.01814), with Adam's epsilon following the gradient, ``n^(-θ)``.

This is an identity, not a limit: two networks drawn from the same seeds, all three roles shifted by different θ, are
trained side by side in double precision, with momentum and weight decay under SGD. The rival is the other family's
gauge, under which their outputs part.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import sweep, table_of

TABLES = ("sp-over-n", "ntp", "mup")
SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 8,
    "train": 8,
    "batch": 4,
    "base_width": 16,
    "steps": 5,
    "record": [1, 5],
    "dtype": "float64",
    "shift": {"input": "1/2", "hidden": "-1/4", "output": "3/4"},
    "gauge": 2,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.01,
}
NORMALISED = {"gauge": 1, "learning_rate": 0.01, "momentum": 0.0}
VARIANTS = {
    "SGD": {},
    "sign descent": {**NORMALISED, "optimizer": "sign"},
    "Adam": {**NORMALISED, "optimizer": "adam", "epsilon": 1e-3},
    "spectral descent": {**NORMALISED, "optimizer": "spectral"},
}


def predict(c: Config) -> tuple[Prediction, ...]:
    """Return that the difference is 0: at the narrowest width, and as widths grow."""
    name = table_of(c).name
    return tuple(
        Prediction(name, "shift-difference", kind, 0.0, rival=0.01, tolerance=1e-6, step=step)
        for step in c["record"]
        for kind in (Kind.NARROWEST, Kind.VALUE)
    )


def other_gauge(c: Config) -> Config:
    """Return the configuration with the other family's symmetry."""
    return {**c, "gauge": 3 - c["gauge"]}


def keep_rates(c: Config) -> Config:
    """Return the configuration whose shift leaves the learning rates as they were."""
    return {**c, "gauge": 0}


CLAIM = Claim(
    name="shift-symmetry",
    statement="A shift (a + θ, b - θ, c - 2θ) of any layer changes nothing under SGD; under optimizers that normalise "
    "the gradient it is c - θ.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3; Yang & Littwin 2023, arXiv:2308.01814",
    rival="The symmetry is that of the other family of optimizers.",
    experiment="shift",
    sweeps={
        "smoke": sweep(TABLES, {32: 4, 64: 4, 128: 4}, SETTINGS, variants=VARIANTS),
        "nightly": sweep(TABLES, {32: 16, 64: 16, 128: 16, 256: 8, 512: 4}, SETTINGS, variants=VARIANTS),
        "full": sweep(TABLES, {32: 64, 128: 64, 512: 16, 2048: 4}, SETTINGS, variants=VARIANTS),
    },
    predict=predict,
    faults=(
        Fault("other-gauge", "c shifts by θ under SGD and by 2θ under the others", other_gauge),
        Fault("unshifted-rates", "the rates stay as they were", keep_rates),
    ),
    figures=(Figure.CONVERGENCE,),
    notes="An identity at every width, to the rounding of double precision.",
)
