"""Where numbers come from: draws by the generator's state, dependence on large widths, limits that begin far out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traced_models import CPU, DOUBLE, Model, inputs

from tpbench.programs import trace
from tpbench.programs.tracing import TraceError, TraceWarning

X = inputs()[0]

DRAWS: Mapping[str, Callable[[], Tensor]] = {
    "randint": lambda: X[torch.randint(2, (1,), device=CPU)],
    "randperm": lambda: X[torch.randperm(3, device=CPU)[:2]],
    "dropout": lambda: functional.dropout(X, 0.01),
}


@pytest.mark.parametrize("name", DRAWS)
def test_finite_draws_are_refused_even_where_the_seeds_happen_to_agree(name: str) -> None:
    for seed in range(12):
        with pytest.raises(TraceError, match=r"aten\.(randint|randperm|bernoulli)"):
            trace(
                Model,
                lambda m: torch.tanh(m.read_in(DRAWS[name]())).square().mean(),
                seed=seed,
                widths=(4, 8, 12),
                check_width=None,
            )


def test_finite_draws_are_constants_only_where_the_generator_is_in_one_state_at_every_width() -> None:
    def run(m: Model, first: int) -> Tensor:
        source = torch.Generator(device=CPU).manual_seed(3)
        torch.randn(first, generator=source, dtype=DOUBLE, device=CPU)
        place = torch.randint(1, (1,), generator=source, device=CPU)
        return torch.tanh(m.read_in(X))[place].square().mean()

    assert trace(Model, lambda m: run(m, 4)).outputs == ("out",)
    with pytest.raises(TraceError, match=r"aten\.randint"):
        trace(Model, lambda m: run(m, m.n))


def test_dependence_on_n_that_begins_beyond_the_trace_widths_is_seen_at_the_check_width() -> None:
    def run(m: Model) -> Tensor:
        return torch.tanh(m.read_in(X)).square().mean() * (2.0 if m.n > 40 else 1.0)

    assert trace(Model, run, check_width=None).outputs == ("out",)
    with pytest.raises(TraceError, match=r"aten\.mul .*depends on the width"):
        trace(Model, run)


def test_two_laws_from_one_seed_are_refused() -> None:
    def make(n: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(7)
        one = torch.randn(n, dtype=DOUBLE, device=CPU)
        torch.manual_seed(7)
        return one, torch.empty(n, dtype=DOUBLE, device=CPU).uniform_()

    with pytest.raises(TraceError, match=r"drawn from one seed"):
        trace(make, lambda m: (m[0] * m[1]).mean())


def test_a_limit_that_begins_at_astronomical_widths_is_warned_of() -> None:
    def normed(m: Model) -> Tensor:
        return functional.layer_norm(m.read_in(X) / m.n**0.5, (m.n,)).square().mean()

    with pytest.warns(TraceWarning, match=r"native_layer_norm.*dominates from n ≈ 1e\+05"):
        trace(Model, normed)


def test_half_precision_is_refused_by_name() -> None:
    with pytest.raises(TraceError, match="bfloat16"):
        trace(Model, lambda m: m.read_in(X).bfloat16().square().mean())


def test_a_weight_times_a_layer_of_one_input_is_traced() -> None:
    def make(n: int) -> tuple[nn.Module, Tensor]:
        return nn.Linear(3, n, bias=False, dtype=DOUBLE, device=CPU), torch.randn(n, n, dtype=DOUBLE) * n**-0.5

    one = torch.ones(3, dtype=DOUBLE, device=CPU)
    assert trace(make, lambda m: (m[1] @ m[0](one)).square().mean()).outputs == ("out",)
