"""What changed between two summaries, and whether it is for the worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tpbench.bench.claim import Side, Verdict
from tpbench.bench.summary import Record, Summary, encode, number, records

SLOWER = 1.10
"""A step is slower when the lower end of its time exceeds the upper end of the earlier time by this factor."""

LARGER = 1.05
"""A step is larger when its memory exceeds the earlier one by this factor."""

BADNESS: Mapping[Verdict, int] = {Verdict.SUPPORTED: 0, Verdict.INCONCLUSIVE: 1, Verdict.REFUTED: 2}

DISTANCES: Mapping[Side, Callable[[float], float]] = {
    Side.EQUAL: abs,
    Side.AT_MOST: lambda excess: max(excess, 0.0),  # below a bound nothing is wrong
    Side.AT_LEAST: lambda excess: max(-excess, 0.0),
}
"""How far an estimate is from its prediction, given estimate - prediction."""

MACHINE = ("device", "dtype", "cpu", "threads")
"""What must agree in the provenance for times to mean the same."""

SHOWN = 20
"""How many lines of one kind the text shows."""


class Subject(NamedTuple):
    """An estimate or, with empty words, a whole claim. ``number`` tells apart what is otherwise alike."""

    claim: str
    parametrization: str = ""
    quantity: str = ""
    kind: str = ""
    side: str = ""
    layer: int | None = None
    step: int | None = None
    number: int = 0

    def __str__(self) -> str:
        places = [
            f"{name} {place}" for name, place in (("layer", self.layer), ("step", self.step)) if place is not None
        ]
        again = [f"no. {self.number + 1}"] if self.number else []
        return " ".join([self.claim, self.parametrization, self.quantity, self.kind, *places, *again]).strip()


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


class Step(NamedTuple):
    """A training step whose cost was measured. ``number`` tells apart what is otherwise alike."""

    experiment: str
    parametrization: str
    width: int
    number: int = 0

    def __str__(self) -> str:
        return f"{self.experiment} {self.parametrization} width {self.width}".strip()


Key = TypeVar("Key", Subject, Step)


@dataclass(frozen=True)
class Flip:
    """A verdict that changed."""

    subject: Subject
    before: Verdict
    after: Verdict

    @property
    def worse(self) -> bool:
        """Whether it moved away from supported, or to refuted."""
        return BADNESS[self.after] > BADNESS[self.before]

    def __str__(self) -> str:
        return f"{self.subject}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Escape:
    """An estimate outside its earlier interval, the two intervals being disjoint; ``prediction`` is the later one."""

    subject: Subject
    before: Interval
    after: Interval
    prediction: float

    @property
    def worse(self) -> bool:
        """Whether it moved away from the prediction."""
        distance = DISTANCES[Side(self.subject.side)]
        before, after = (distance(one.estimate - self.prediction) for one in (self.before, self.after))
        return after > before

    def __str__(self) -> str:
        return f"{self.subject}: {self.before} -> {self.after}, predicted {self.prediction:.4g}"


@dataclass(frozen=True)
class Growth:
    """A cost of a step that rose beyond noise; ``measure`` is "seconds" or "bytes"."""

    step: Step
    measure: str
    before: float
    after: float

    def __str__(self) -> str:
        ratio = f" ({self.after / self.before:.2f} times)" if self.before > 0 else ""
        return f"{self.step}: {self.before:.4g} -> {self.after:.4g} {self.measure}{ratio}"


@dataclass(frozen=True)
class Comparison:
    """What differs in a later summary; ``cautions`` say why a difference may mean nothing."""

    flips: tuple[Flip, ...]
    escapes: tuple[Escape, ...]
    growths: tuple[Growth, ...]
    appeared: tuple[Subject, ...]
    disappeared: tuple[Subject, ...]
    cautions: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        """Whether a verdict became worse, an estimate left its interval and the prediction, or a step costs more."""
        return bool(self.growths) or any(change.worse for change in self.changes)

    @property
    def changes(self) -> tuple[Flip | Escape, ...]:
        """What may be for the better or the worse."""
        return (*self.flips, *self.escapes)

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not any((self.flips, self.escapes, self.growths, self.appeared, self.disappeared, self.cautions))


def compare(a: Summary, b: Summary) -> Comparison:
    """Return what differs in the later summary ``b`` from the earlier ``a``. A number not measured never differs."""
    before, after = _by_subject(a), _by_subject(b)
    common = [subject for subject in after if subject in before]
    pairs = [(subject, before[subject], after[subject]) for subject in common]
    costs_before, costs_after = _by_step(a), _by_step(b)
    return Comparison(
        flips=tuple(
            Flip(subject, Verdict(x["verdict"]), Verdict(y["verdict"]))
            for subject, x, y in pairs
            if x["verdict"] != y["verdict"]
        ),
        escapes=tuple(
            Escape(subject, _interval(x), _interval(y), number(y["prediction"]))
            for subject, x, y in pairs
            if not y["overall"] and _disjoint(_interval(x), _interval(y))
        ),
        growths=tuple(
            growth
            for step in costs_after
            if step in costs_before
            for growth in _growths(step, costs_before[step], costs_after[step])
        ),
        appeared=tuple(subject for subject in after if subject not in before),
        disappeared=tuple(subject for subject in before if subject not in after),
        cautions=tuple(_cautions(a, b, len(costs_before.keys() - costs_after.keys()))),
    )


def as_text(comparison: Comparison) -> str:
    """Return the comparison for a reader: first whether it regressed, then what is worse, then the rest."""
    if comparison.empty:
        return "Nothing differs."
    worse = [change for change in comparison.changes if change.worse]
    better = [change for change in comparison.changes if not change.worse]
    sections: tuple[tuple[str, Iterable[object]], ...] = (
        ("Caution", comparison.cautions),
        ("Worse", (*worse, *comparison.growths)),
        ("Better, or no worse", better),
        ("Appeared", comparison.appeared),
        ("Disappeared", comparison.disappeared),
    )
    lines = ["Regressed." if comparison.regressed else "No regression."]
    for title, entries in sections:
        lines += _section(title, [str(entry) for entry in entries])
    return "\n".join(lines)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a JSON object."""
    return {
        "regressed": comparison.regressed,
        "flips": [
            {**flip.subject._asdict(), "before": str(flip.before), "after": str(flip.after), "worse": flip.worse}
            for flip in comparison.flips
        ],
        "escapes": [
            {
                **escape.subject._asdict(),
                "before": _encoded(escape.before),
                "after": _encoded(escape.after),
                "prediction": encode(escape.prediction),
                "worse": escape.worse,
            }
            for escape in comparison.escapes
        ],
        "growths": [
            {**one.step._asdict(), "measure": one.measure, "before": encode(one.before), "after": encode(one.after)}
            for one in comparison.growths
        ],
        "appeared": [subject._asdict() for subject in comparison.appeared],
        "disappeared": [subject._asdict() for subject in comparison.disappeared],
        "cautions": list(comparison.cautions),
    }


def _by_subject(summary: Summary) -> dict[Subject, Record]:
    """Return claims and estimates by what they are about, the claims first."""
    claims = ((Subject(record["claim"]), record) for record in records(summary, "claim"))
    names = ("claim", "parametrization", "quantity", "kind", "side", "layer", "step")
    estimates = ((Subject(*(record[name] for name in names)), record) for record in records(summary, "estimate"))
    return {**_numbered(claims), **_numbered(estimates)}


def _by_step(summary: Summary) -> dict[Step, Record]:
    return _numbered(
        (Step(str(record.get("experiment", "")), record["parametrization"], record["width"]), record)
        for record in records(summary, "cost")
    )


def _numbered(entries: Iterable[tuple[Key, Record]]) -> dict[Key, Record]:
    """Return a dictionary; a key seen before gets the number of times it was."""
    seen: Counter[Key] = Counter()
    numbered: dict[Key, Record] = {}
    for key, record in entries:
        numbered[key._replace(number=seen[key])] = record
        seen[key] += 1
    return numbered


def _interval(record: Record) -> Interval:
    return Interval(*(number(record[name]) for name in Interval._fields))


def _encoded(interval: Interval) -> Record:
    return {name: encode(value) for name, value in interval._asdict().items()}


def _disjoint(before: Interval, after: Interval) -> bool:
    """Say whether the later estimate lies outside the earlier interval and the intervals share no number."""
    above = after.low > before.high and after.estimate > before.high
    below = after.high < before.low and after.estimate < before.low
    return above or below


def _growths(step: Step, before: Record, after: Record) -> Iterable[Growth]:
    if number(after["seconds_low"]) > SLOWER * number(before["seconds_high"]):
        yield Growth(step, "seconds", number(before["seconds"]), number(after["seconds"]))
    if number(after["bytes"]) > LARGER * number(before["bytes"]):
        yield Growth(step, "bytes", number(before["bytes"]), number(after["bytes"]))


def _cautions(a: Summary, b: Summary, lost: int) -> Iterable[str]:
    if a[0]["profile"] != b[0]["profile"]:
        yield f"the profiles differ ({a[0]['profile']} and {b[0]['profile']}), so the widths do too"
    machines = [[summary[0]["provenance"].get(name) for name in MACHINE] for summary in (a, b)]
    for name, x, y in zip(MACHINE, *machines, strict=True):
        if x != y:
            yield f"{name} differs ({x} and {y}), so costs need not be comparable"
    if lost:
        yield f"{lost} measured costs of the earlier summary are missing in the later one"


def _section(title: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = [f"  and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return [f"{title}:", *(f"  {entry}" for entry in entries[:SHOWN]), *more]
