"""The nouns of the benchmark: a claim, its sweep, the points it needs, the rows they give, what is predicted.

Everything here is immutable data. A *configuration* is a JSON object (``Config``): whatever a run's numbers
depend on, so that its canonical text can be hashed, stored beside the rows, and compared.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

Config = Mapping[str, Any]
"""A JSON object: keys are words, values are numbers, words, lists or objects of the same kind."""

ABSENT = -1
"""The coordinate of a row that has no such coordinate (a loss has no layer, a limit has no seed)."""

PROFILES = ("smoke", "nightly", "full")

DENSE, LAZY = "dense", "lazy"
WEIGHTS = (DENSE, LAZY)
"""What a configuration's key ``weights`` says: matrices that are built, or lazy ones of the same law that never are."""


class Row(NamedTuple):
    """One measured number. The run that holds it adds experiment, parametrization and width."""

    quantity: str
    value: float
    seed: int = ABSENT
    step: int = ABSENT
    layer: int = ABSENT
    index: int = ABSENT  # type: ignore[assignment]  # hides tuple.index, which no row needs


@dataclass(frozen=True)
class Point:
    """One run: one width and one block of seeds of one experiment under one parametrization.

    ``config`` holds everything else that its numbers depend on, the abc table among it under the key
    ``parametrization``; ``code`` is a digest of the numerical source. ``digest`` names its file.
    """

    experiment: str
    parametrization: str
    width: int
    seeds: tuple[int, ...]
    config: Config
    code: str

    def as_config(self) -> dict[str, Any]:
        """Return the point as a JSON object, for the header of its file and for its digest."""
        return {
            "experiment": self.experiment,
            "parametrization": self.parametrization,
            "width": self.width,
            "seeds": list(self.seeds),
            "config": dict(self.config),
            "code": self.code,
        }

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change when anything does on which the numbers depend."""
        return hashlib.sha256(canonical_json(self.as_config()).encode()).hexdigest()[:16]


SETTLED = ("parametrization", "weights", "device")
"""Keys of a configuration that no variant may change."""


@dataclass(frozen=True)
class Sweep:
    """Which runs a claim needs at one profile.

    ``seeds[i]`` is the number of seeds at ``widths[i]``: narrow networks are cheap, so they can have more.
    ``block`` is the most seeds one run holds: a longer ensemble is several runs, so that a kill loses less.
    ``lazy`` are the widths, with their seeds, of networks with lazy weights; a width may be in both, and then its
    dense and its lazy networks are different ones of one law. ``variants`` are named changes of ``config``: every
    parametrization is run in each of them, the one named "" being the plain one.

    Raises ``ValueError`` for widths without seeds, without any variant, and for a variant that changes what is
    decided elsewhere (``SETTLED``).
    """

    parametrizations: tuple[str, ...]
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    config: Config
    block: int = 1024
    lazy: Mapping[int, int] = field(default_factory=dict)
    variants: Mapping[str, Config] = field(default_factory=lambda: {"": {}})

    def __post_init__(self) -> None:
        if len(self.seeds) != len(self.widths):
            raise ValueError(
                f"a sweep needs one number of seeds a width: got {len(self.widths)} widths and "
                f"{len(self.seeds)} numbers of seeds"
            )
        if not self.variants:
            raise ValueError('a sweep without variants runs nothing: the plain variant is {"": {}}')
        for name, changes in self.variants.items():
            settled = [key for key in SETTLED if key in changes]
            if settled:
                raise ValueError(
                    f"variant {name!r} changes {', '.join(settled)}, which the selection and the sweep's "
                    "parametrizations, widths and lazy widths decide: leave that out of the variant"
                )

    def sizes(self, weights: str) -> Mapping[int, int]:
        """Return width -> seeds of the networks with dense, or with lazy, weights."""
        return {DENSE: dict(zip(self.widths, self.seeds, strict=True)), LAZY: self.lazy}[weights]


class Kind(StrEnum):
    """How rows become one number (``estimate.ESTIMATORS`` has one function for each)."""

    EXPONENT = "exponent"  # of the root mean square over seeds and indices, against width
    SPREAD = "spread"  # exponent of the standard deviation over seeds
    BIAS = "bias"  # exponent of the mean over seeds, a vector over indices
    VALUE = "value"  # the mean over seeds, extrapolated to infinite width
    FALL = "fall"  # the largest fall of the mean over seeds from one width to the next wider one
    RISE = "rise"  # the largest rise of that mean, for what should fall with width
    NARROWEST = "narrowest"  # the mean over seeds at the narrowest width
    LARGEST = "largest"  # the largest exponent over indices, each fitted alone
    SMALLEST = "smallest"  # the smallest exponent over indices, each fitted alone


class Side(StrEnum):
    """What a prediction states: equality, or a bound O(.) that holds on one side only."""

    EQUAL = "equal"
    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Prediction:
    """What theory says about one quantity under one parametrization, and what a rival says.

    ``tolerance`` is the half-width of the band around ``predicted`` inside which the whole confidence interval
    must lie; ``rival`` is the number that must be rejected as well. ``correction`` is the power p of the
    finite-width correction 1 + c n^(-p) that the fit allows where there are widths enough to carry it
    (infinity gives up the narrowest width and corrects nothing else); ``from_width`` leaves narrower networks out of
    the fit.
    """

    parametrization: str
    quantity: str
    kind: Kind
    predicted: float
    rival: float
    tolerance: float
    layer: int = ABSENT
    step: int = ABSENT
    side: Side = Side.EQUAL
    correction: float = 1.0
    from_width: int = 0

    def __post_init__(self) -> None:
        if self.tolerance <= 0:
            raise ValueError(f"{self.quantity}: a tolerance is positive, got {self.tolerance}")
        if abs(self.rival - self.predicted) <= self.tolerance:
            raise ValueError(
                f"{self.quantity}: the rival {self.rival} lies within the tolerance {self.tolerance} of the "
                f"prediction {self.predicted}, so no measurement could tell them apart"
            )


BIAS_POWERS = (-1.0, 3.0)
"""The least and the largest power p of n^(-p) among which that of a bias is sought."""


@dataclass(frozen=True)
class Estimate:
    """A prediction with what was measured: ``value`` and its 95% confidence interval [low, high].

    ``error`` is the standard error, ``freedom`` the degrees of freedom of its t distribution, ``widths`` the
    widths that entered, ``note`` what the reader must know (diverged widths, no correction term). A value of
    NaN means that nothing could be estimated, and ``note`` says why. ``diverged`` are the widths left out because a
    value there was not finite; what blows up at some width is never supported by the widths at which it did not.
    """

    prediction: Prediction
    value: float
    error: float
    freedom: float
    low: float
    high: float
    widths: tuple[int, ...]
    note: str = ""
    diverged: tuple[int, ...] = ()

    @property
    def below_noise(self) -> bool:
        """Whether this is the exponent of a bias that noise hides: any power that was sought fits it."""
        reach = (self.high - self.low) / 2
        return self.prediction.kind is Kind.BIAS and reach >= (BIAS_POWERS[1] - BIAS_POWERS[0]) * (1 - 1e-9)


class Verdict(StrEnum):
    SUPPORTED = "supported"
    INCONCLUSIVE = "inconclusive"
    REFUTED = "refuted"


@dataclass(frozen=True)
class Judged:
    """An estimate with its verdict."""

    estimate: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class ClaimResult:
    """All judged estimates of one claim. The claim is refuted when one row is, supported when all are."""

    claim: str
    judged: tuple[Judged, ...]
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the rows; inconclusive when there are none."""
        verdicts = {row.verdict for row in self.judged}
        for worst in (Verdict.REFUTED, Verdict.INCONCLUSIVE):
            if worst in verdicts:
                return worst
        return Verdict.SUPPORTED if verdicts else Verdict.INCONCLUSIVE

    @property
    def furthest(self) -> Judged | None:
        """The row furthest from its prediction, in tolerances; one without an estimate is furthest of all."""
        return max(self.judged, key=distance, default=None)

    def of(self, parametrization: str) -> tuple[Judged, ...]:
        """Return the rows of one parametrization."""
        return tuple(row for row in self.judged if row.estimate.prediction.parametrization == parametrization)


def distance(row: Judged) -> float:
    """Return how far an estimate is from its prediction, in tolerances; one of nothing is furthest of all."""
    estimate, prediction = row.estimate, row.estimate.prediction
    if math.isnan(estimate.value):
        return math.inf
    away = estimate.value - prediction.predicted
    return {Side.AT_MOST: away, Side.AT_LEAST: -away}.get(prediction.side, abs(away)) / prediction.tolerance


@dataclass(frozen=True)
class Fault:
    """A deliberate error: changes to the configuration of the runs, made behind the back of the prediction.

    ``spares`` names parametrizations (in all their variants) of which the claim says nothing that the error could
    falsify.
    """

    name: str
    description: str
    changes: Callable[[Config], Config]
    spares: tuple[str, ...] = ()


class Figure(StrEnum):
    """The pictures a claim can draw (``plot.FIGURES`` has one function for each)."""

    EXPONENTS = "exponents"  # size against width, a panel a quantity and layer
    TRAJECTORIES = "trajectories"  # outputs of finite widths over steps, against the limit
    RESIDUALS = "residuals"  # how far such outputs are from their target 1, of which the claim names each
    CONVERGENCE = "convergence"  # bias and spread against width
    COST = "cost"  # seconds and bytes a step against width
    EPOCHS = "epochs"  # a quantity of finite widths over epochs, against the limits
    FAMILY = "family"  # exponents along a family of parametrizations
    REGIMES = "regimes"  # measured regimes on the charts of the claim's atlas, and how often they are the predicted
    RANKED = "ranked"  # the exponents of many parametrizations, a panel a quantity, in order of size
    MAP = "map"  # words on the first two principal components of their vectors, finite and in the limits


@dataclass(frozen=True)
class Axis:
    """Where the parametrizations of a family lie: ``places`` by name; ``named`` places get their name at the axis."""

    label: str
    places: Mapping[str, float]
    named: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement with its source, sweeps, experiment, predictions, planted faults and pictures.

    ``predict`` takes the configuration of a sweep, the abc table among it, and returns what theory says of it;
    it raises ``ValueError`` where the claim does not apply to that table, saying why. ``axis`` places the
    parametrizations of a family (``Figure.FAMILY``); ``atlas`` makes the charts (``atlas.Atlas``) on which its
    configurations are drawn, by label (``Figure.REGIMES``); ``outputs`` says in words what the outputs of
    ``Figure.TRAJECTORIES`` and ``Figure.RESIDUALS`` are, by index.
    """

    name: str
    statement: str
    source: str
    rival: str
    experiment: str
    sweeps: Mapping[str, Sweep]
    predict: Callable[[Config], tuple[Prediction, ...]]
    faults: tuple[Fault, ...]
    figures: tuple[Figure, ...]
    notes: str = field(default="")
    axis: Axis | None = None
    atlas: Callable[[Mapping[str, Config]], Any] | None = None
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [profile for profile in PROFILES if profile not in self.sweeps]
        if missing:
            raise ValueError(f"claim {self.name!r} has no sweep for profile {', '.join(missing)}")


Experiment = Callable[[Point], Iterable[Row]]
"""Does one run: trains what the point says and yields its rows. The same point gives the same rows."""


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises ``ValueError`` when the value holds NaN or an infinity, ``TypeError`` when it is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
