"""From a claim and a profile to the points that have to be run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpbench.bench.claim import Claim, Config, Fault, Point, Sweep

MIN_WIDTHS = 3


@dataclass(frozen=True)
class Selection:
    """What the user asked to run: everything that decides the points, besides the code itself.

    ``tables`` are abc tables as JSON objects by name; empty means the claim's own parametrizations. ``fault`` plants
    every claim's faults instead of running it as it is.
    """

    claims: tuple[str, ...]
    profile: str
    device: str
    tables: Mapping[str, Config] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    seeds: int | None = None
    dataset: str | None = None
    planted: bool = False

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
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a selection of runs: {error!r}; run `tpbench run` again") from error


def chosen_sweep(claim: Claim, selection: Selection) -> Sweep:
    """Return the claim's sweep at the profile, with the selection's widths, seeds, parametrizations and data set.

    A width that the sweep does not have gets the seeds of the nearest one that it has (by ratio). Raises
    ``ValueError`` for fewer than three widths, a width below 1, or fewer than two seeds.
    """
    base = claim.sweeps[selection.profile]
    widths = tuple(sorted(set(selection.widths))) or base.widths
    check_sizes(widths, selection.seeds)
    known = dict(zip(base.widths, base.seeds, strict=True))
    nearest = [min(known, key=lambda have, n=width: max(have / n, n / have)) for width in widths]  # type: ignore[misc]
    seeds = tuple(known[have] if selection.seeds is None else selection.seeds for have in nearest)
    return Sweep(
        parametrizations=tuple(selection.tables) or base.parametrizations,
        widths=widths,
        seeds=seeds,
        config={**base.config, "device": selection.device, **_dataset(selection)},
        block=base.block,
    )


def _dataset(selection: Selection) -> Config:
    return {} if selection.dataset is None else {"dataset": selection.dataset}


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


def configurations(claim: Claim, selection: Selection, tables: Mapping[str, Config]) -> dict[str, Config]:
    """Return the configuration of every parametrization of the claim; ``tables`` are the named abc tables."""
    sweep = chosen_sweep(claim, selection)
    known = {**tables, **selection.tables}
    return {name: {**sweep.config, "parametrization": known[name]} for name in sweep.parametrizations}


def points(
    claim: Claim,
    selection: Selection,
    configurations: Mapping[str, Config],
    *,
    code: str,
    fault: Fault | None = None,
) -> list[Point]:
    """Return the runs that the claim needs, widest last; with a fault, the runs that have it."""
    sweep = chosen_sweep(claim, selection)
    found = []
    for name, config in configurations.items():
        planted = config if fault is None else fault.changes(config)
        for width, seeds in zip(sweep.widths, sweep.seeds, strict=True):
            count = -(-seeds // sweep.block)
            edges = [seeds * part // count for part in range(count + 1)]
            for start, end in itertools.pairwise(edges):
                block = tuple(range(start, end))
                found.append(Point(claim.experiment, name, width, block, planted, code))
    return found
