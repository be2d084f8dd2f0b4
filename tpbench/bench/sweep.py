"""From a claim and a profile to the points that have to be run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tpbench.bench.claim import DENSE, LAZY, PROFILES, WEIGHTS, Claim, Config, Fault, Point, Sweep

MIN_WIDTHS = 3

LAZY_FIRST_SEED = 2**20
"""Lazy networks count their seeds from here: at a width that has both kinds they are other networks than the dense
ones, and their rows can be pooled."""
LAZY_NEURONS = 2**20
"""The most neurons of a layer, over all seeds, that one run with lazy weights holds; it holds one seed at least."""
FIRST_SEEDS: Mapping[str, int] = {DENSE: 0, LAZY: LAZY_FIRST_SEED}
LAZY_SETTINGS: Config = {"weights": LAZY, "dtype": "float64"}
"""What lazy weights change in a configuration; their law is conditioned on earlier products, in double precision."""


@dataclass(frozen=True)
class Selection:
    """What the user asked to run: everything that decides the points, besides the code itself.

    ``tables`` are abc tables as JSON objects by name; empty means the claim's own parametrizations. ``planted`` plants
    every claim's faults instead of running it as it is. ``weights`` takes the dense or the lazy widths alone; None
    takes both, and chosen ``widths`` are dense then.
    """

    claims: tuple[str, ...]
    profile: str
    device: str
    tables: Mapping[str, Config] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    seeds: int | None = None
    dataset: str | None = None
    planted: bool = False
    weights: str | None = None

    def as_config(self) -> dict[str, Any]:
        """Return the selection as a JSON object; ``from_config`` is the inverse."""
        return {
            "claims": list(self.claims),
            "profile": self.profile,
            "device": self.device,
            "tables": dict(self.tables),
            "widths": list(self.widths),
            "seeds": self.seeds,
            "dataset": self.dataset,
            "planted": self.planted,
            "weights": self.weights,
        }

    @classmethod
    def from_config(cls, config: Config) -> Selection:
        """Return the selection that a JSON object describes; ``ValueError`` when it is not one."""
        try:
            return cls(
                claims=tuple(config["claims"]),
                profile=config["profile"],
                device=config["device"],
                tables=config["tables"],
                widths=tuple(config["widths"]),
                seeds=config["seeds"],
                dataset=config["dataset"],
                planted=config["planted"],
                weights=config["weights"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a selection of runs: {error!r}; run `tpbench run` again") from error


def chosen_sweep(claim: Claim, selection: Selection) -> Sweep:
    """Return the claim's sweep at the profile, with the selection's widths, seeds, parametrizations and data set.

    A width that the sweep does not have gets the seeds of the nearest one that it has (by ratio). Raises
    ``ValueError`` for fewer than three widths, a width below 1, fewer than two seeds, or weights that the claim has no
    widths for.
    """
    check_weights((claim,), selection)
    base = claim.sweeps[selection.profile]
    asked = tuple(sorted(set(selection.widths)))
    check_sizes(asked or [width for kind in _kinds(selection) for width in base.sizes(kind)], selection.seeds)
    sizes = {kind: _asked(_known(claim, selection, kind), asked, selection.seeds) for kind in _kinds(selection)}
    return replace(
        base,
        parametrizations=tuple(selection.tables) or base.parametrizations,
        widths=tuple(sizes.get(DENSE, {})),
        seeds=tuple(sizes.get(DENSE, {}).values()),
        lazy=sizes.get(LAZY, {}),
        config={**base.config, "device": selection.device, **_dataset(base.config, selection)},
    )


def _asked(known: Mapping[int, int], widths: Sequence[int], seeds: int | None) -> dict[int, int]:
    """Return width -> seeds for the widths asked for, or else for all that are known."""
    nearest = {n: min(known, key=lambda have, n=n: max(have / n, n / have)) for n in widths or known}  # type: ignore[misc]
    return {width: seeds or known[have] for width, have in nearest.items()}


def check_weights(claims: Sequence[Claim], selection: Selection) -> None:
    """Raise ``ValueError``, naming the claims, when some have no widths of the kind of weights that was asked for."""
    if selection.weights not in (None, *WEIGHTS):
        raise ValueError(f"weights are {' or '.join(WEIGHTS)}, got {selection.weights!r}")
    if selection.weights is None and not selection.widths:
        return
    [kind] = _kinds(selection)
    without = [claim.name for claim in claims if not _known(claim, selection, kind)]
    if without:
        having = ", ".join(claim.name for claim in claims if claim.name not in without)
        where = "any profile" if selection.widths else f"the profile {selection.profile!r}"
        raise ValueError(
            f"no {kind} widths at {where} in {', '.join(without)}: "
            f"{f'name only {having}' if having else 'choose other claims'}, or --weights {_other(kind)}"
        )


def _other(kind: str) -> str:
    [other] = [each for each in WEIGHTS if each != kind]
    return other


def _kinds(selection: Selection) -> tuple[str, ...]:
    """Return the kinds of weights to run; widths that the user chose are all of one kind."""
    if selection.weights is not None:
        return (selection.weights,)
    return (DENSE,) if selection.widths else WEIGHTS


def _known(claim: Claim, selection: Selection, kind: str) -> Mapping[int, int]:
    """Return the claim's width -> seeds at the profile or, for widths that the user chose, at the next one with some.

    A claim that knows no such width anywhere cannot be run with such weights at all.
    """
    profiles = (selection.profile, *(PROFILES if selection.widths else ()))
    return next((sizes for profile in profiles if (sizes := claim.sweeps[profile].sizes(kind))), {})


def _dataset(config: Config, selection: Selection) -> Config:
    """Return the data set that the user chose, for runs that have one."""
    return {} if selection.dataset is None or "dataset" not in config else {"dataset": selection.dataset}


def check_sizes(widths: Sequence[int], seeds: int | None) -> None:
    """Raise ``ValueError`` for widths or seeds from which no exponent can be estimated."""
    wrong = [width for width in widths if width < 1]
    if wrong:
        raise ValueError(f"a width is a whole number from 1, got {', '.join(map(str, wrong))}")
    if len(set(widths)) < MIN_WIDTHS:
        raise ValueError(
            f"an exponent needs at least {MIN_WIDTHS} different widths, got {len(set(widths))} "
            f"({', '.join(map(str, widths))}): add wider or narrower ones"
        )
    if seeds is not None and seeds < 2:
        raise ValueError(f"a confidence interval needs at least 2 seeds, got {seeds}")


def label(parametrization: str, variant: str) -> str:
    """Return the name of a parametrization in a variant: ``mup`` in the plain one, ``mup, VARIANT`` in another."""
    return f"{parametrization}, {variant}" if variant else parametrization


def parametrization_of(label: str) -> str:
    """Return the parametrization that a label begins with; names of tables have no comma."""
    return label.partition(", ")[0]


def configurations(claim: Claim, selection: Selection, tables: Mapping[str, Config]) -> dict[str, Config]:
    """Return the configuration of every parametrization in every variant of the claim's sweep, by label.

    ``tables`` are the named abc tables. Where a variant names a data set it keeps it, whatever the selection says.
    """
    sweep = chosen_sweep(claim, selection)
    known = {**tables, **selection.tables}
    return {
        label(name, variant): {**sweep.config, **changes, "parametrization": known[name]}
        for name in sweep.parametrizations
        for variant, changes in sweep.variants.items()
    }


def points(
    claim: Claim,
    selection: Selection,
    configurations: Mapping[str, Config],
    *,
    code: str,
    fault: Fault | None = None,
) -> list[Point]:
    """Return the runs that the claim needs, widest last, dense before lazy; with a fault, the runs that have it."""
    sweep = chosen_sweep(claim, selection)
    sizes = sorted((width, kind, seeds) for kind in WEIGHTS for width, seeds in sweep.sizes(kind).items())
    found = []
    for name, config in configurations.items():
        for width, kind, seeds in sizes:
            sound = _weighted(config, kind)
            planted = sound if fault is None else fault.changes(sound)
            most = sweep.block if kind == DENSE else min(sweep.block, max(1, LAZY_NEURONS // width))
            for block in _blocks(FIRST_SEEDS[kind], seeds, most):
                found.append(Point(claim.experiment, name, width, block, planted, code))
    return found


def _weighted(config: Config, kind: str) -> Config:
    """Return a configuration with its kind of weights; one that never heard of weights is dense as it stands."""
    if kind == LAZY:
        return {**config, **LAZY_SETTINGS}
    return {**config, "weights": DENSE} if "weights" in config else config


def _blocks(first: int, seeds: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield so many seeds in blocks of nearly equal size, none larger than ``most``."""
    count = -(-seeds // most)
    edges = [first + seeds * part // count for part in range(count + 1)]
    for start, end in itertools.pairwise(edges):
        yield tuple(range(start, end))
