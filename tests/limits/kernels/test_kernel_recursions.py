"""Every recursion against itself written one number at a time, from the output down."""

from collections.abc import Callable

import pytest
from kernel_cases import cases, inputs_for
from slow_roads import slow_kernels

from tpbench.limits.kernels import architecture_kernels

Agree = Callable[..., None]
ALL = {f"{name}-{phi}": of for phi in ("relu", "erf") for name, of in cases(phi).items()}


@pytest.mark.parametrize("name", ALL)
def test_the_recursion_is_the_one_written_pair_by_pair(agree: Agree, name: str) -> None:
    of = ALL[name]
    x1, x2 = inputs_for(of, 2, seed=1), inputs_for(of, 1, seed=2)
    found = architecture_kernels(of, x1, x2)
    nngp, ntk = slow_kernels(of, x1, x2)
    agree(found.nngp, nngp, 1e-12)
    agree(found.ntk, ntk, 1e-12)
    assert found.error is None


@pytest.mark.parametrize("name", cases("relu"))
def test_an_example_with_itself_is_as_exact(agree: Agree, name: str) -> None:
    """At correlation 1 relu's kernels have an infinite derivative, and rounding would show as 1e-8."""
    of = cases("relu")[name]
    x = inputs_for(of, 2, seed=3)
    found = architecture_kernels(of, x)
    nngp, ntk = slow_kernels(of, x, x)
    agree(found.nngp, nngp, 1e-12)
    agree(found.ntk, ntk, 1e-7)
