"""From one architecture to its two claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from tpbench.architecture import ARCHITECTURES, Architecture
from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Sweep
from tpbench.claims.config import table_of
from tpbench.parametrization import PARAMETRIZATIONS, equivalent

TABLE = "ntp"
NO_CORRECTION = math.inf
SETTINGS: Mapping[str, Any] = {
    "dataset": "digits",
    "examples": 4,
    "data_seed": 0,
    "probes": 4,  # the first so many examples, between which kernels are compared
    "layout": "vector",  # or "sequence", "image": how the pixels are read
    "limit_error": 3e-4,  # the largest standard error of the limit, in units of its mean diagonal
    "limit_points": 2**16,  # of a limit that is integrated by sampling
    "weights": "dense",
    "dtype": "float32",
    "device": "cpu",
}
"""What a run's configuration says besides ``architecture`` and ``rival_architecture``; ``ntk_rival_architecture`` is
there where the tangent kernel has a rival of its own."""
STATEMENTS: Mapping[str, str] = {
    "nngp": "The covariance of the output of {words}, given its last hidden layer, converges to the NNGP kernel: one "
    "network is off by n^(-1/2), the mean of many by 1/n.",
    "ntk": "The tangent kernel of {words} at initialisation converges to the NTK: one network is off by n^(-1/2), the "
    "mean of many by 1/n.",
}
SOURCES: Mapping[str, str] = {"nngp": "Yang 2019, arXiv:1910.12478", "ntk": "Yang 2020, arXiv:2006.14548"}


@dataclass(frozen=True)
class Case:
    """An architecture and the one that its rival takes it for; on the inputs compared their kernels differ.

    ``ntk_rival`` is the tangent kernel's where it has one of its own.
    """

    architecture: Architecture
    rival: Architecture
    ntk_rival: Architecture | None = None

    def as_config(self) -> dict[str, Any]:
        """Return them as JSON objects."""
        config = {"architecture": as_config(self.architecture), "rival_architecture": as_config(self.rival)}
        return config | ({"ntk_rival_architecture": as_config(self.ntk_rival)} if self.ntk_rival else {})


@dataclass(frozen=True)
class Sizes:
    """Width -> number of networks, dense and lazy, at each profile."""

    smoke: Mapping[int, int]
    nightly: Mapping[int, int]
    full: Mapping[int, int]
    lazy: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class Subject:
    """An architecture of which two claims are made: in words, by whom, in which cases, and against what.

    ``settings`` are what its runs change in ``SETTINGS``, ``smoke_settings`` what those of smoke change besides;
    ``fault`` is a planted one of its own. ``ntk_rival`` and ``ntk_fault`` stand in for ``rival`` and ``fault`` in the
    claim about the tangent kernel. ``cases`` are the variants of the sweep by name.
    """

    name: str
    words: str
    rival: str
    source: str
    cases: Mapping[str, Case]
    fault: Fault
    sizes: Sizes
    settings: Mapping[str, Any] = field(default_factory=dict)
    smoke_settings: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    ntk_rival: str = ""
    ntk_fault: Fault | None = None


def claims_of(subject: Subject) -> tuple[Claim, ...]:
    """Return the claims about both kernels; they are measured in the same runs."""
    return tuple(
        Claim(
            name=f"{kernel}-{subject.name}",
            statement=statement.format(words=subject.words),
            source=f"{SOURCES[kernel]}; {subject.source}",
            rival=(subject.ntk_rival if kernel == "ntk" else "") or subject.rival,
            experiment="architecture-kernels",
            sweeps={profile: _sweep(subject, profile) for profile in ("smoke", "nightly", "full")},
            predict=partial(predict, kernel),
            faults=(RIVAL_LIMIT, WRONG_SCALE, (subject.ntk_fault if kernel == "ntk" else None) or subject.fault),
            figures=(Figure.CONVERGENCE,),
            notes=subject.notes,
        )
        for kernel, statement in STATEMENTS.items()
    )


def predict(kernel: str, c: Config) -> tuple[Prediction, ...]:
    """Return spread n^(-1/2), bias 1/n and nothing of the rival, for NTP in any gauge.

    A correction would take from the bias what precision there is, so its fit gives up the narrowest width instead.
    """
    table = table_of(c)
    if not equivalent(table, PARAMETRIZATIONS[TABLE]):
        raise ValueError(f"{table.name!r} is not NTP, whose networks have these kernels: other tables have others")
    return (
        Prediction(table.name, f"{kernel}-error", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=0),
        Prediction(
            table.name, f"mean-{kernel}-error", Kind.BIAS, -1.0, -0.5, tolerance=0.25, step=0, correction=NO_CORRECTION
        ),
        Prediction(table.name, f"{kernel}-rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=0),
    )


def as_config(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture as the JSON object that ``tpbench.architecture.architecture`` reads, spelled out."""
    [kind] = [name for name, noun in ARCHITECTURES.items() if noun is type(architecture)]
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(architecture).items()}
    return {"kind": kind, **values}


def networks(c: Config, **changes: Any) -> Config:
    """Return a configuration whose networks are changed behind the back of the limit: a planted fault."""
    return {**c, "architecture": {**c["architecture"], **changes}, "limit_architecture": c["architecture"]}


def _swapped(c: Config) -> Config:
    """Return a configuration whose limit and rival have changed places, for both kernels."""
    changes = {
        name: c[other]
        for rival in ("rival_architecture", "ntk_rival_architecture")
        if rival in c
        for name, other in ((rival.replace("rival", "limit"), rival), (rival, "architecture"))
    }
    return {**c, **changes}


RIVAL_LIMIT = Fault("rival-limit", "the limit is the rival's", _swapped)
WRONG_SCALE = Fault(
    "wrong-scale",
    "the networks' weights are 20% too large",
    lambda c: networks(c, sigma_w=1.2 * c["architecture"]["sigma_w"]),
)


def _sweep(subject: Subject, profile: str) -> Sweep:
    dense: Mapping[int, int] = getattr(subject.sizes, profile)
    [first, *_] = subject.cases.values()
    return Sweep(
        (TABLE,),
        tuple(dense),
        tuple(dense.values()),
        {**SETTINGS, **subject.settings, **(subject.smoke_settings if profile == "smoke" else {}), **first.as_config()},
        block=BLOCK,
        lazy=subject.sizes.lazy.get(profile, {}),
        variants={name: case.as_config() for name, case in subject.cases.items()},
    )


BLOCK = 4096
"""Networks a run: many, since most are narrow and give few rows."""
