"""A summary is strict JSON, survives its file, and nothing else passes for one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.bench.claim import ClaimResult, Estimate, Judged, Kind, Prediction, Side, Verdict
from tpbench.bench.summary import (
    SummaryError,
    encode,
    json_text,
    number,
    read_summary,
    records,
    summarise,
    write_summary,
)

COST = {"parametrization": "mup", "width": 64, "seconds_low": 0.9, "seconds": 1.0, "seconds_high": 1.1, "bytes": 2e6}


def judged(verdict: Verdict = Verdict.SUPPORTED, value: float = 0.01, **options: Any) -> Judged:
    prediction = Prediction("mup", "preactivation", Kind.EXPONENT, 0.0, -0.5, 0.1, **options)
    note = "diverged" if math.isnan(value) else ""
    estimate = Estimate(prediction, value, 0.01, math.inf, value - 0.02, value + 0.02, (64, 128), note)
    return Judged(estimate, verdict)


RESULTS = (
    ClaimResult("exponents", (judged(layer=2, step=10), judged(Verdict.INCONCLUSIVE, math.nan)), "few widths"),
    ClaimResult("limit", (judged(Verdict.REFUTED, 0.5, side=Side.AT_MOST),)),
)
SUMMARY = summarise(RESULTS, "nightly", [COST], {"commit": "abc"})


def test_it_has_one_record_a_claim_an_estimate_and_a_cost() -> None:
    kinds = [record["record"] for record in SUMMARY]
    assert kinds == ["summary", "claim", "estimate", "estimate", "claim", "estimate", "cost"]
    head = {"record": "summary", "format": 1, "profile": "nightly", "provenance": {"commit": "abc"}}
    assert SUMMARY[0] == head | {"claim": None, "verdict": None, "overall": False}
    assert all({"claim", "verdict", "overall"} <= set(record) for record in SUMMARY)
    claims = list(records(SUMMARY, "claim"))
    assert [(claim["claim"], claim["verdict"], claim["overall"]) for claim in claims] == [
        (result.claim, result.verdict, True) for result in RESULTS
    ]
    assert claims[0]["note"] == "few widths"
    without = {"claim": None, "verdict": None, "overall": False}
    assert next(records(SUMMARY, "cost")) == {"record": "cost", **without, **COST}


def test_an_estimate_keeps_every_number_and_word() -> None:
    rows = [(result.claim, row) for result in RESULTS for row in result.judged]
    for record, (claim, row) in zip(records(SUMMARY, "estimate"), rows, strict=True):
        estimate, prediction = row.estimate, row.estimate.prediction
        assert record["claim"] == claim
        assert record["verdict"] == row.verdict
        assert record["overall"] is False
        assert record["widths"] == list(estimate.widths)
        for name in ("parametrization", "quantity", "kind", "side", "tolerance", "rival"):
            assert record[name] == getattr(prediction, name)
        for name in ("error", "freedom", "low", "high", "note"):
            same = getattr(estimate, name)
            read = record[name] if isinstance(same, str) else number(record[name])
            assert read == same or (math.isnan(read) and math.isnan(same))
        assert record["prediction"] == prediction.predicted


def test_nan_and_absent_coordinates_are_null() -> None:
    first, second, third = records(SUMMARY, "estimate")
    assert (first["layer"], first["step"], first["estimate"]) == (2, 10, 0.01)
    assert second["estimate"] is second["low"] is second["high"] is None
    assert third["layer"] is third["step"] is None


@settings(deadline=None)
@given(st.floats())
def test_numbers_survive_strict_json(value: float) -> None:
    back = number(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert repr(back) == repr(abs(value) if math.isnan(value) else value)


def test_the_file_holds_exactly_the_list_that_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "results" / "nightly.json"
    write_summary(path, SUMMARY)
    assert path.read_text() == json_text(SUMMARY)
    assert json.loads(path.read_text()) == SUMMARY
    assert read_summary(path) == SUMMARY
    # One record a line, for readable differences between commits.
    assert len(path.read_text().splitlines()) == len(SUMMARY) + 2


def test_any_layout_of_the_list_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(SUMMARY, indent=4, sort_keys=True))
    assert read_summary(path) == SUMMARY


def test_every_cut_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    text = json_text(SUMMARY)
    for length in range(len(text.rstrip())):
        path.write_text(text[:length])
        with pytest.raises(SummaryError, match="cut short or not JSON"):
            read_summary(path)


def changed(place: int, **fields: Any) -> list[Any]:
    return [{**record, **fields} if i == place else record for i, record in enumerate(SUMMARY)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"format": 1}, "not a summary"),
        ([], "not a summary"),
        ([[1]], "not a summary"),
        (SUMMARY[1:], "first record"),
        (changed(0, format=2), "format version 2"),
        (changed(0, provenance=[]), "provenance"),
        (changed(1, record="clam"), "record 1 is of the unknown kind 'clam'"),
        (changed(1, record=["claim"]), "unknown kind"),
        (changed(1, verdict="sure"), "unknown verdict 'sure'"),
        (changed(2, side="above"), "unknown side"),
        (changed(2, low="small"), "low 'small', which is no number"),
        (changed(2, low=[1]), "no number"),
        ([SUMMARY[0], {"record": "cost", "width": 3}], "lacks parametrization, seconds_low"),
        ([SUMMARY[0], 3], "record 1 is not an object"),
    ],
)
def test_what_is_no_summary_is_refused_with_the_reason(tmp_path: Path, content: Any, why: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SummaryError, match=why) as caught:
        read_summary(path)
    assert "tpbench judge --json" in str(caught.value)
    with pytest.raises(SummaryError, match=why):
        write_summary(tmp_path / "b.json", content)
    assert not (tmp_path / "b.json").exists()


def test_an_absent_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(SummaryError, match="there is no summary"):
        read_summary(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\x1f\x8b\x00\xff")
    with pytest.raises(SummaryError, match="not JSON"):
        read_summary(tmp_path / "a.json")


def test_a_cost_that_lacks_something_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks bytes"):
        summarise([], "smoke", [{name: value for name, value in COST.items() if name != "bytes"}])


def test_a_cost_not_measured_is_null() -> None:
    (record,) = records(summarise([], "smoke", [{**COST, "bytes": math.nan}]), "cost")
    assert record["bytes"] is None
