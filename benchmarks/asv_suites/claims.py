"""Time of one whole claim at fixed sizes: training and storing its runs, then estimating and judging from them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .running import compute, jobs_of, judge


class Claim:
    """Three widths, sixteen seeds."""

    params = (["coordinate-size", "ntk-frozen", "mup-linear-limit"],)
    param_names = ("claim",)
    timeout = 300.0
    number = 1
    repeat = (3, 5, 20.0)
    rounds = 1

    def setup(self, claim: str) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.out = Path(self.directory.name)
        (self.job,) = jobs_of(claim, widths=(64, 128, 256), seeds=16)
        compute(self.job, self.out)

    def teardown(self, claim: str) -> None:
        self.directory.cleanup()

    def time_compute(self, claim: str) -> None:
        compute(self.job, self.out)

    time_compute.version = "1"  # type: ignore[attr-defined]

    def time_judge(self, claim: str) -> None:
        judge(self.job, self.out)

    time_judge.version = "1"  # type: ignore[attr-defined]
