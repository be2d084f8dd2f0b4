"""What every claim about a limit trajectory predicts: spread n^(-1/2), bias 1/n, nothing left of the rival."""

from __future__ import annotations

from collections.abc import Sequence

from tpbench.bench.claim import Kind, Prediction


def convergence(name: str, record: Sequence[int]) -> tuple[Prediction, ...]:
    """Return the predictions for outputs that converge to a deterministic limit given f_0.

    At every recorded step: the spread over seeds falls like n^(-1/2), and the error's component along
    (rival - limit) extrapolates to 0 (the rival would give 1). From the second recorded step on: the bias falls
    like 1/n (rival: n^(-1/2), as if networks did not average out). At the first step the bias is that of a kernel
    at initialisation, too small to have an exponent at these widths.
    """
    found = []
    for step in record:
        found.append(Prediction(name, "output-error", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=step))
    for step in record[1:]:
        found.append(Prediction(name, "output-error", Kind.BIAS, -1.0, -0.5, tolerance=0.25, step=step))
    return tuple(found)
