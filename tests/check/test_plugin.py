"""The assertion for users' tests, and the pytest plugin that offers it as a fixture."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import MUP_ADAM, MUP_SGD, changed, measurements
from torch import nn
from torch.optim import Adam

from tpbench.bench.claim import ClaimResult, Judged, Verdict
from tpbench.check import Report, assert_parametrization, check
from tpbench.check.api import passes
from tpbench.check.report import report_on
from tpbench.parametrization import named

SMALL: dict[str, Any] = {"widths": (32, 64, 128, 256), "seeds": 3, "steps": 2}


def build(width: int) -> Any:
    model = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 8))
    return model, Adam(model.parameters(), lr=0.01)


def test_the_assertion_holds_layer_cause_and_fix() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_parametrization(build, "mup", **SMALL)
    message = str(caught.value)
    for word in ("mup: refuted", "✗", "learning rate: 2", "cause:", "fix:"):
        assert word in message


def test_check_returns_a_report() -> None:
    report = check(build, named("mup"), **SMALL)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.REFUTED
    assert report.refuted


def with_verdicts(report: Report, verdicts: list[Verdict]) -> Report:
    rows = [Judged(report.judged[i].estimate, verdict) for i, verdict in enumerate(verdicts)]
    return replace(report, judgement=replace(report.judgement, result=ClaimResult("check", tuple(rows))))


def test_what_passes() -> None:
    report = report_on(measurements(MUP_SGD, "sgd"), named("mup"))
    yes, maybe, no = Verdict.SUPPORTED, Verdict.INCONCLUSIVE, Verdict.REFUTED
    assert passes(report, strict=True)
    assert passes(with_verdicts(report, [yes, yes, maybe]))
    assert not passes(with_verdicts(report, [yes, yes, maybe]), strict=True)
    assert not passes(with_verdicts(report, [yes, maybe, maybe])), "a check that says next to nothing is no test"
    assert not passes(with_verdicts(report, [])), "nor is one without estimates"
    assert not passes(with_verdicts(report, [yes] * 10 + [no]))
    assert not passes(report_on(measurements(changed(MUP_ADAM, 1, c=0.0), "adam"), named("mup")))


@pytest.mark.parametrize("bad", [{"widths": (64, 128)}, {"widths": (64, 64, 64, 128)}, {"seeds": 1}])
def test_too_few_widths_or_seeds_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 3 widths and 2 seeds"):
        check(build, **{**SMALL, **bad})


TEST = """
import torch
from torch import nn


def build(width):
    model = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 8))
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def test_mup(assert_parametrization):
    assert_parametrization(build, "mup", widths=(32, 64, 128), seeds=3, steps=2)
"""


def test_the_fixture_fails_a_users_test_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tpbench.check.plugin", "-p", "no:cacheprovider", "."]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "mup: refuted" in result.stdout
    assert "cause:" in result.stdout


def test_the_entry_point_is_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"tpbench": "tpbench.check.plugin"}
    from tpbench.check import plugin

    assert hasattr(plugin, "assert_parametrization_fixture")
