"""The main path with variants and lazy widths, from a selection to a summary, on rows that no network made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tpbench.bench.claim import PROFILES, Claim, Config, Fault, Figure, Kind, Point, Prediction, Row, Sweep, Verdict
from tpbench.bench.compare import as_json, as_text, compare
from tpbench.bench.costs import costs_of
from tpbench.bench.store import path_of, read_header
from tpbench.bench.summary import read_summary, records
from tpbench.bench.sweep import LAZY_FIRST_SEED, Selection
from tpbench.bench.table import join, tabulate
from tpbench.claims import CLAIMS
from tpbench.claims.config import config, table_of
from tpbench.claims.experiments import EXPERIMENTS
from tpbench.pipeline import (
    compute,
    folder,
    judge_all,
    keep_their_data,
    origin_of,
    plan,
    rows_of,
    select,
    write_report_of,
)

POWERS = {"mup": 0.0, "ntp": -0.5}
LABELS = ["mup", "mup, depth 4", "ntp", "ntp, depth 4"]


def predict(c: Config) -> tuple[Prediction, ...]:
    """Sizes fall with the table's power, and under NTP they halve with the depth; a claim knows no variants."""
    name = table_of(c).name
    if name == "sp":
        raise ValueError("SP has no limit")
    power = POWERS[name] * c["depth"] / 2
    return (Prediction(name, "size", Kind.EXPONENT, power, power + 1, tolerance=0.1),)


def run(point: Point) -> Iterator[Row]:
    """The experiment: what is predicted, with a factor of each seed; the planted fault adds 1 to the power."""
    c = point.config
    [prediction] = predict(c)
    for seed in point.seeds:
        factor = np.exp(0.02 * np.random.default_rng([seed, point.width]).standard_normal())
        yield Row("size", float(point.width ** (prediction.predicted + c["momentum"]) * factor), seed=seed)


SWEEP = Sweep(
    ("mup", "ntp"),
    (64, 128, 256, 512, 1024),
    (8, 8, 8, 8, 8),
    config(),
    lazy={1024: 6, 2**14: 4, 2**20: 2},
    variants={"": {}, "depth 4": {"depth": 4}},
)
CLAIM = Claim(
    "synthetic",
    "Sizes are as predicted.",
    "derived",
    "They grow.",
    "synthetic",
    dict.fromkeys(PROFILES, SWEEP),
    predict,
    (Fault("grown", "one power too many", lambda c: {**c, "momentum": 1.0}, spares=("ntp",)),),
    (Figure.EXPONENTS,),
)


@pytest.fixture(autouse=True)
def synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the claim and its experiment."""
    monkeypatch.setitem(CLAIMS, CLAIM.name, CLAIM)  # type: ignore[arg-type]
    monkeypatch.setitem(EXPERIMENTS, "synthetic", f"{__name__}:run")  # type: ignore[arg-type]


def chosen(**changes: Any) -> Selection:
    return select(["synthetic"], profile="smoke", device="cpu", **changes)


def test_predictions_have_the_labels_of_the_rows() -> None:
    [job] = plan(chosen())
    assert [prediction.parametrization for prediction in job.predictions] == LABELS
    assert {point.parametrization for point in job.points} == set(LABELS)
    assert [prediction.predicted for prediction in job.predictions] == [0, 0, -0.5, -1]


def test_a_refusal_names_the_variant() -> None:
    [job] = plan(chosen(parametrizations=["sp", "mup"]))
    assert job.note == "does not apply to sp: SP has no limit; does not apply to sp, depth 4: SP has no limit"
    assert {prediction.parametrization for prediction in job.predictions} == {"mup", "mup, depth 4"}


def test_a_fault_spares_a_parametrization_in_all_its_variants() -> None:
    [job] = plan(chosen(planted=True))
    assert {point.parametrization for point in job.points} == {"mup", "mup, depth 4"}
    assert [prediction.parametrization for prediction in job.predictions] == ["mup", "mup, depth 4"]
    assert {point.config["momentum"] for point in job.points} == {1.0}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"weights": "lasy"}, "unknown weights 'lasy'; did you mean 'lazy'"),
        ({"weights": "lazy", "widths": (8, 16)}, "at least 3 different widths, got 2"),
    ],
)
def test_wrong_weights_are_told(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        plan(chosen(**asked))


def test_all_claims_without_lazy_widths_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = dataclasses.replace(SWEEP, lazy={})
    for name in ("one", "two"):
        claim = dataclasses.replace(CLAIM, name=name, sweeps=dict.fromkeys(PROFILES, dense))
        monkeypatch.setitem(CLAIMS, name, claim)  # type: ignore[arg-type]
    asked = select(["one", "synthetic", "two"], profile="smoke", device="cpu", weights="lazy")
    with pytest.raises(ValueError, match="no lazy widths at the profile 'smoke' in one, two: name only synthetic"):
        plan(asked)


def test_dense_and_lazy_runs_are_judged_together(tmp_path: Path) -> None:
    selection = chosen()
    jobs = plan(selection)
    executions = compute(jobs, tmp_path, workers=1)
    assert not [failure for execution in executions for failure in execution.failed]
    [job] = jobs
    for point in job.points:
        header = read_header(path_of(tmp_path / "runs", point))
        assert header["provenance"]["dtype"] == point.config["dtype"]
        assert (point.config["dtype"] == "float64") == (point.config["weights"] == "lazy")
    judgement = judge_all(jobs, selection, tmp_path, 1.0)
    [result] = judgement.results
    assert [row.estimate.prediction.parametrization for row in result.judged] == LABELS
    assert {row.verdict for row in result.judged} == {Verdict.SUPPORTED}
    assert {row.estimate.widths for row in result.judged} == {(64, 128, 256, 512, 1024, 2**14, 2**20)}
    rows = rows_of(job, tmp_path)
    counts = rows[(rows["parametrization"] == "mup") & (rows["width"] == 1024)]["weights"].value_counts()
    assert counts.to_dict() == {"dense": 8, "lazy": 6}
    origin = origin_of(jobs, tmp_path, 1.0)
    assert origin["dtype"] == "float32+float64"
    assert origin["seeds"] == f"0 to 7, {LAZY_FIRST_SEED} to {LAZY_FIRST_SEED + 5}"


def test_the_planted_fault_is_refuted_with_both_weights(tmp_path: Path) -> None:
    selection = chosen(planted=True)
    jobs = plan(selection)
    compute(jobs, tmp_path, workers=1)
    [result] = judge_all(jobs, selection, tmp_path, 1.0).results
    assert {row.verdict for row in result.judged} == {Verdict.REFUTED}


def test_labels_go_through_report_summary_and_comparison(tmp_path: Path) -> None:
    for part, weights in (("dense", "dense"), ("both", None)):
        selection = chosen(weights=weights)
        jobs = plan(selection)
        compute(jobs, tmp_path / part, workers=1)
        judgement = judge_all(jobs, selection, tmp_path / part, 1.0, pictures=True)
        page = write_report_of(judgement, selection, tmp_path / part)
        assert all(label in page.read_text() for label in LABELS)
        figures = [path.name for path in (folder(selection, tmp_path / part) / "figures").iterdir()]
        assert figures == ["synthetic-exponents.png"]
    before, after = (read_summary(tmp_path / part / "reports/smoke/summary.json") for part in ("dense", "both"))
    assert [record["parametrization"] for record in records(after, "estimate")] == LABELS
    assert not compare(after, after).flips
    worse = [dict(record) for record in after]
    [record] = [record for record in worse if record.get("parametrization") == "ntp, depth 4"]
    record.update(verdict="refuted", estimate=5.0, low=4.9, high=5.1)
    found = compare(before, worse)
    assert found.regressed
    assert "synthetic ntp, depth 4 size exponent: supported -> refuted" in as_text(found)
    assert [flip["parametrization"] for flip in json.loads(json.dumps(as_json(found)))["flips"]] == ["ntp, depth 4"]
    assert not found.appeared
    assert not found.disappeared


def test_costs_of_dense_and_lazy_steps_are_not_pooled() -> None:
    points = [
        Point("cost", "mup", 1024, (first, first + 1), {"weights": weights}, "")
        for weights, first in (("dense", 0), ("lazy", LAZY_FIRST_SEED))
    ]
    rows = join(
        [
            tabulate(point, [Row(quantity, seconds, seed=seed) for seed in point.seeds])
            for point, seconds in zip(points, (2.0, 0.5), strict=True)
            for quantity in ("step-seconds", "peak-bytes")
        ]
    )
    assert [(cost["weights"], cost["seconds"], cost["bytes"]) for cost in costs_of(rows)] == [
        ("dense", 2.0, 2.0),
        ("lazy", 0.5, 0.5),
    ]


def test_claims_whose_variants_name_their_data_are_told() -> None:
    for dataset, expected in ((None, []), ("gaussian", ["mup-deep-limit"])):
        selection = Selection(("mup-deep-limit", "zero-output"), "smoke", "cpu", dataset=dataset)
        assert keep_their_data(plan(selection), selection) == expected
