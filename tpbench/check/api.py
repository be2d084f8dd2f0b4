"""``check``: is my model muP? And the same as an assertion, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tpbench.bench.claim import Verdict
from tpbench.check.report import Report, report_on
from tpbench.parametrization import Parametrization, table_of

WIDTHS = (64, 128, 256, 512, 1024)
SEEDS, STEPS = 4, 4
WIDE_SEEDS = 2


def check(
    factory: Callable[[int], Any],
    parametrization: str | Parametrization = "mup",
    *,
    widths: Sequence[int] = WIDTHS,
    seeds: int = SEEDS,
    steps: int = STEPS,
    wide: Sequence[int] = (),
    wide_seeds: int = WIDE_SEEDS,
    decay: bool = True,
    **options: Any,
) -> Report:
    """Train small versions of a model for a few steps and judge how every layer's updates scale with its width.

    ``factory(width)`` returns ``(model, optimizer)``, and maybe a batch and a loss; see ``measure`` for these, and for
    the other ``options`` (``device``, ``family``, ``first_seed``, ``record``, ``progress``). ``parametrization`` is a
    table, the name of one, or a TOML file. A table whose layers all learn at the maximal rate under SGD, such as muP,
    means that under every optimizer.

    ``wide`` are widths such as 2^17, beyond the others, at which a model that SGD trains has weights that are never
    built; ``wide_seeds`` networks each. Exponents are fitted over all widths.

    Learning rate times weight decay must not depend on the width; without ``decay`` it may fade, but must not grow.

    Raises ``ValueError`` for fewer than three widths or two seeds, for a factory or model that cannot be measured, and
    where the table says nothing of such a model.
    """
    from tpbench.check.measure import measure

    table = table_of(parametrization) if isinstance(parametrization, str) else parametrization
    if len({*widths, *wide}) < 3 or min(seeds, wide_seeds) < 2:
        raise ValueError(
            f"an exponent needs at least 3 widths and 2 seeds, got widths {', '.join(map(str, (*widths, *wide)))} and "
            f"{min(seeds, wide_seeds)} seeds: five widths, each twice the one before, and 4 seeds are a good start"
        )
    measured = measure(factory, widths=widths, seeds=seeds, steps=steps, wide=wide, wide_seeds=wide_seeds, **options)
    return report_on(measured, table, decay=decay)


def assert_parametrization(
    factory: Callable[[int], Any],
    parametrization: str | Parametrization = "mup",
    *,
    strict: bool = False,
    **options: Any,
) -> Report:
    """Raise ``AssertionError`` where a check refutes the parametrization; options are those of ``check``.

    The message holds the refuted rows and the faults in words. A check of which not even one estimate in two is
    supported says too little to pass; with ``strict``, a single inconclusive estimate is enough to fail.
    """
    __tracebackhide__ = True
    report = check(factory, parametrization, **options)
    if not passes(report, strict=strict):
        from tpbench.check.show import text

        raise AssertionError("\n" + text(report, every=False))
    return report


def passes(report: Report, *, strict: bool = False) -> bool:
    """Return whether a report is good enough for a test."""
    if report.verdict is Verdict.REFUTED:
        return False
    enough = 2 * report.counts[Verdict.SUPPORTED] >= max(1, len(report.judged))
    return report.verdict is Verdict.SUPPORTED or (enough and not strict)
