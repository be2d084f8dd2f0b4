"""Claims with very many estimates are shown by what is wrong and by the worst of the rest; nothing wrong is hidden."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tpbench.bench.claim import Claim, ClaimResult, Estimate, Figure, Judged, Kind, Prediction, Sweep, Verdict
from tpbench.bench.fold import MOST_ROWS, MOST_TABLES, WORST, columns, names, others, shown
from tpbench.bench.report import OTHERS, PROVENANCE, render
from tpbench.console import estimates_table, verdicts_table


def row(number: int, verdict: Verdict = Verdict.SUPPORTED) -> Judged:
    """Return an estimate that lies further from its prediction, the larger its number."""
    prediction = Prediction(f"table-{number}", "growth", Kind.EXPONENT, 0.0, 1.0, tolerance=0.1)
    value = number / 1e4
    return Judged(Estimate(prediction, value, 0.01, 9.0, value, value, (1, 2, 3)), verdict)


def result(count: int, *wrong: int, claim: str = "many") -> ClaimResult:
    verdicts = dict.fromkeys(wrong, Verdict.REFUTED)
    return ClaimResult(claim, tuple(row(i, verdicts.get(i, Verdict.SUPPORTED)) for i in range(count)))


def text(table: object) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_few_rows_are_shown_whole() -> None:
    judged = result(MOST_ROWS).judged
    assert shown(judged) == (judged, 0)


def test_of_many_rows_all_that_is_wrong_is_shown_and_the_worst_of_the_rest_in_their_order() -> None:
    rows, left_out = shown(result(300, 5, 7).judged)
    assert [each.estimate.prediction.parametrization for each in rows] == [
        *("table-5", "table-7"),
        *(f"table-{i}" for i in range(300 - WORST, 300)),
    ]
    assert left_out == 300 - WORST - 2


def test_nothing_wrong_is_ever_hidden() -> None:
    rows, left_out = shown(result(300, *range(200)).judged)
    assert sum(each.verdict is Verdict.REFUTED for each in rows) == 200
    assert left_out == 100 - WORST


def test_claims_about_few_parametrizations_decide_the_columns() -> None:
    few, many = result(3, claim="few"), result(MOST_TABLES + 1)
    assert columns([many, few]) == ("table-0", "table-1", "table-2")
    assert names(others(many, columns([many, few]))) == tuple(f"table-{i}" for i in range(3, MOST_TABLES + 1))


def test_the_console_has_a_row_for_the_rest_and_one_for_each_that_is_wrong() -> None:
    told = text(verdicts_table([result(300, 7)]))
    assert "table-7 " in told
    assert "299 tables" in told
    assert "table-8" not in told
    assert len(told.splitlines()) < 10


def test_the_console_tells_how_many_estimates_it_leaves_out() -> None:
    told = text(estimates_table(result(300, 7)))
    assert f"{299 - WORST} more are supported" in told
    assert "table-7 " in told
    assert "table-8 " not in told
    assert "more are supported" not in text(estimates_table(result(MOST_ROWS)))


@pytest.mark.parametrize(("wrong", "mark"), [((), "supported"), ((7,), "refuted")])
def test_the_report_has_one_column_for_all_others_with_their_worst_verdict(wrong: tuple[int, ...], mark: str) -> None:
    sweep = Sweep(("t",), (1, 2, 3), (2, 2, 2), {})
    sweeps = dict.fromkeys(("smoke", "nightly", "full"), sweep)
    claims = [
        Claim(name, f"about {name}", "derived", "", "x", sweeps, lambda c: (), (), (Figure.RANKED,))
        for name in ("few", "many")
    ]
    provenance = {**dict.fromkeys(PROVENANCE, "x"), "started": "2026-01-02T03:04:05+00:00", "wall_seconds": 1.0}
    page = render(claims, [result(2, claim="few"), result(300, *wrong)], {}, provenance, "nightly")
    assert f'<th scope="col">{OTHERS}</th>' in page
    assert page.count('<th scope="col">table-') == 2
    cells = page[page.index('<th scope="row">many</th>') :]
    assert f'class="{mark}"' in cells[: cells.index("</tr>")]
    assert f"{300 - WORST - len(wrong)} supported ones are left out" in page
    assert page.count('<th scope="row">table-') == 2 + WORST + len(wrong)
