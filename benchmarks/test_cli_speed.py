"""Seconds from the shell to the list of claims: what every command costs before it does anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tpbench.claims import CLAIMS


@pytest.mark.benchmark(group="start-up")
def test_list(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "tpbench.cli", "list", "--json"]

    answer = benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"check": True, "capture_output": True}, rounds=5, warmup_rounds=1
    )

    assert [claim["name"] for claim in json.loads(answer.stdout)] == list(CLAIMS)
