"""Judged claims as JSON: one list of records, printed, committed and compared alike.

A summary is a list of objects that say in ``record`` what they are:

- ``summary``, the first: format version, profile, provenance;
- ``claim``: a claim's overall verdict;
- ``estimate``: one prediction with what was measured and its verdict;
- ``cost``: seconds and bytes of a step of one parametrization at one width.

JSON has no NaN and no infinities: NaN, and a layer or step that a quantity does not have, are null; infinities
are the words "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tpbench.bench.atomic import explain, write_atomically
from tpbench.bench.claim import ABSENT, ClaimResult, Judged, Kind, Side, Verdict

FORMAT = 1
"""The version of the records; a summary of another version cannot be read."""

Record = dict[str, Any]
Summary = list[Record]

FIELDS: Mapping[str, tuple[str, ...]] = {
    "summary": ("format", "profile", "provenance"),
    "claim": ("claim", "verdict", "overall", "note"),
    "estimate": (
        "claim",
        "parametrization",
        "quantity",
        "kind",
        "layer",
        "step",
        "prediction",
        "rival",
        "tolerance",
        "side",
        "estimate",
        "error",
        "freedom",
        "low",
        "high",
        "verdict",
        "overall",
        "note",
        "widths",
    ),
    "cost": ("parametrization", "width", "seconds_low", "seconds", "seconds_high", "bytes"),
}
"""What each kind of record must have; it may have more."""

NUMBERS: Mapping[str, tuple[str, ...]] = {
    "summary": (),
    "claim": (),
    "estimate": ("prediction", "rival", "tolerance", "estimate", "error", "freedom", "low", "high"),
    "cost": ("seconds_low", "seconds", "seconds_high", "bytes"),
}
"""Fields that ``number`` reads."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "verdict": tuple(Verdict),
    "side": tuple(Side),
    "kind": tuple(Kind),
}
"""The fields whose words are few, and which they are."""


NO_VERDICT: Mapping[str, Any] = {"claim": None, "verdict": None, "overall": False}
"""What head and costs say where estimates and claims have a verdict, so that every record has the same keys to ask."""


class SummaryError(ValueError):
    """A file or a list is not a summary; the message says why and what to do."""


def summarise(
    results: Iterable[ClaimResult],
    profile: str,
    costs: Iterable[Mapping[str, Any]] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Summary:
    """Return the records of judged claims; each claim is followed by its estimates.

    A cost has the fields ``FIELDS["cost"]`` and may have more (``experiment``, say). Raises ``ValueError`` when
    it lacks one.
    """
    head = {
        "record": "summary",
        **NO_VERDICT,
        "format": FORMAT,
        "profile": profile,
        "provenance": dict(provenance or {}),
    }
    claims = [record for result in results for record in _claim(result)]
    return [head, *claims, *map(_cost, costs)]


def json_text(summary: Summary) -> str:
    """Return the JSON text of a summary, one record a line so that versions can be compared line by line."""
    lines = (json.dumps(record, allow_nan=False, ensure_ascii=False) for record in summary)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write_summary(path: Path, summary: Summary) -> None:
    """Write a summary, whole or not at all.

    Raises ``SummaryError`` when it is none, ``StoreError`` when the file cannot be written.
    """
    _check(summary, "this list")
    write_atomically(path, json_text(summary).encode())


def read_summary(path: Path) -> Summary:
    """Return the summary in a file.

    Raises ``SummaryError`` when there is no file, or it is cut short, of another format version, or not a summary.
    """
    try:
        with explain("read", path):
            text = path.read_bytes()
    except FileNotFoundError as error:
        raise SummaryError(f"there is no summary {path}; `tpbench judge --json` writes one") from error
    try:
        summary = json.loads(text)
    except ValueError as error:
        raise SummaryError(
            f"{path} is cut short or not JSON ({error}); write it anew with `tpbench judge --json`"
        ) from error
    return _check(summary, str(path))


def records(summary: Summary, kind: str) -> Iterator[Record]:
    """Yield the records of one kind."""
    return (record for record in summary if record["record"] == kind)


def number(value: float | str | None) -> float:
    """Return the number that a record holds: null is NaN, and the infinities are words."""
    return math.nan if value is None else float(value)


def encode(value: float) -> float | str | None:
    """Return what a record holds for a number: the inverse of ``number``."""
    value = float(value)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else repr(value)


def _claim(result: ClaimResult) -> Iterator[Record]:
    yield {
        "record": "claim",
        "claim": result.claim,
        "verdict": str(result.verdict),
        "overall": True,
        "note": result.note,
    }
    for judged in result.judged:
        yield _estimate(result.claim, judged)


def _estimate(claim: str, judged: Judged) -> Record:
    estimate, prediction = judged.estimate, judged.estimate.prediction
    return {
        "record": "estimate",
        "claim": claim,
        "parametrization": prediction.parametrization,
        "quantity": prediction.quantity,
        "kind": str(prediction.kind),
        "layer": _place(prediction.layer),
        "step": _place(prediction.step),
        "prediction": encode(prediction.predicted),
        "rival": encode(prediction.rival),
        "tolerance": encode(prediction.tolerance),
        "side": str(prediction.side),
        "estimate": encode(estimate.value),
        "error": encode(estimate.error),
        "freedom": encode(estimate.freedom),
        "low": encode(estimate.low),
        "high": encode(estimate.high),
        "verdict": str(judged.verdict),
        "overall": False,
        "note": estimate.note,
        "widths": [operator.index(width) for width in estimate.widths],
    }


def _place(coordinate: int) -> int | None:
    return None if coordinate == ABSENT else operator.index(coordinate)


def _cost(cost: Mapping[str, Any]) -> Record:
    absent = [name for name in FIELDS["cost"] if name not in cost]
    if absent:
        raise ValueError(f"a cost lacks {', '.join(absent)}; it has {', '.join(map(str, cost)) or 'nothing'}")
    numbers = {name: encode(cost[name]) for name in NUMBERS["cost"]}
    return {"record": "cost", **NO_VERDICT, **cost, "width": operator.index(cost["width"]), **numbers}


def _check(summary: object, origin: str) -> Summary:
    """Return a summary after checking that it is one."""
    if not isinstance(summary, list) or not summary or not isinstance(summary[0], dict):
        raise SummaryError(f"{origin} is not a summary, which is a list of records; see `tpbench judge --json`")
    if summary[0].get("record") != "summary":
        raise SummaryError(
            f"{origin} is not a summary: its first record must say record 'summary' and have a format, "
            f"a profile and a provenance; write it anew with `tpbench judge --json`"
        )
    if summary[0].get("format") != FORMAT:
        raise SummaryError(
            f"{origin} is of format version {summary[0].get('format')}, and this version of tpbench reads {FORMAT}; "
            f"write it anew with `tpbench judge --json`"
        )
    for place, record in enumerate(summary):
        wrong = _fault(record)
        if wrong:
            raise SummaryError(
                f"{origin} is not a sound summary: record {place} {wrong}; write it anew with `tpbench judge --json`"
            )
    return summary


def _fault(record: object) -> str:
    """Say what is wrong with a record, "" when nothing is."""
    if not isinstance(record, dict):
        return "is not an object"
    kind = record.get("record")
    if not isinstance(kind, str) or kind not in FIELDS:
        return f"is of the unknown kind {kind!r}"
    absent = [name for name in FIELDS[kind] if name not in record]
    if absent:
        return f"lacks {', '.join(absent)}"
    for name in WORDS.keys() & set(FIELDS[kind]):
        if record[name] not in WORDS[name]:
            return f"has the unknown {name} {record[name]!r}"
    if not isinstance(record.get("provenance", {}), dict):
        return "has a provenance that is not an object"
    for name in NUMBERS[kind]:
        try:
            number(record[name])
        except (TypeError, ValueError):
            return f"has the {name} {record[name]!r}, which is no number"
    return ""
