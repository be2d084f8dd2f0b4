"""SP with the learning rate eta/sqrt(n) blows up under squared error, and learns features under cross-entropy.

With c = 1/2 in every layer of SP the theory gives, for a derivative dL/df of size 1, g = 1/2 and

    ΔW^1 x ~ n^(-1),   ΔW^2 x ~ n^0,   Δf ~ n^(1/2):

hidden layers learn while the logits grow. Cross-entropy bounds dL/df, so this holds at every step: a *controlled
divergence* (Haas et al. 2025, arXiv:2505.22491). Under squared error dL/df is the residual, which the first step
has made n^(1/2), so that the second step is larger by n^(1/2) in every layer: ΔW^1 x ~ n^(-1/2), ΔW^2 x ~ n^(1/2);
each further step makes it worse. Each loss is the other's rival.

The rate is large enough for outputs far beyond 1 after one step at all widths: otherwise dL/df would not know yet of
the growth in narrow networks, and two phases would mix.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import rule_of, sweep, table_of
from tpbench.parametrization import exponent, least_movement

SETTINGS = {
    "activation": "gelu",
    "sigma_w": 1.4,
    "learning_rate": 8.0,
    "base_width": 64,
    "outputs": 10,
    "batch": 4,
    "centred": True,
}
BOUNDED = "cross-entropy"
VARIANTS = {
    "cross-entropy": {"loss": BOUNDED, "steps": 3, "record": [0, 1, 2, 3]},
    "squared error": {"loss": "mse", "steps": 2, "record": [0, 1, 2]},
}
OTHER = {"cross-entropy": "mse", "mse": "cross-entropy"}
TABLES = ("sp-over-root-n",)


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = table_of(c), c["depth"], rule_of(c)
    growth = float(exponent(table, "output-change", depth=depth, first_step=True, rule=rule))
    if growth <= 0 or least_movement(table, depth, rule=rule) < 0:
        raise ValueError(
            f"the claim is about tables whose output grows while features do not; under {table.name!r} the output "
            f"moves like n^({growth:g})"
        )
    found = []
    for step in c["record"][1:]:
        fed_back = step > 1 and c["loss"] != BOUNDED
        for quantity, layer in _judged(depth, fed_back):
            power = float(exponent(table, quantity, depth=depth, layer=layer, first_step=step == 1, rule=rule))
            both = (power + growth, power) if fed_back else (power, power + growth)
            found.append(Prediction(table.name, quantity, Kind.EXPONENT, *both, tolerance=0.1, layer=layer, step=step))
    return tuple(found)


def _judged(depth: int, fed_back: bool) -> list[tuple[str, int]]:
    """Return what is judged of a step; where features grow as well, the output mixes their growth with its own."""
    found = [("weight-update", layer) for layer in range(1, depth + 1)]
    return found if fed_back else [*found, ("output-change", depth + 1)]


CLAIM = Claim(
    name="cross-entropy-rate",
    statement="SP with rate n^(-1/2) learns features under cross-entropy, and blows up under squared error.",
    source="Haas et al. 2025, arXiv:2505.22491",
    rival="The loss makes no difference: both blow up, or neither does.",
    experiment="training",
    sweeps={
        "smoke": sweep(
            TABLES, {}, SETTINGS, lazy={2**9: 64, 2**10: 40, 2**11: 24, 2**12: 10, 2**13: 4}, variants=VARIANTS
        ),
        "nightly": sweep(
            TABLES, {}, SETTINGS, lazy={2**8: 64, 2**10: 32, 2**12: 24, 2**14: 12, 2**16: 4}, variants=VARIANTS
        ),
        "full": sweep(
            TABLES,
            {256: 64, 512: 64, 1024: 32, 2048: 16},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 32, 2**16: 16, 2**18: 8, 2**20: 4},
            variants=VARIANTS,
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "exchanged-losses",
            "cross-entropy is trained in place of squared error, and the reverse",
            lambda c: {**c, "loss": OTHER[c["loss"]]},
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="Squared error is judged at its first two steps: later the growth feeds on itself.",
)
