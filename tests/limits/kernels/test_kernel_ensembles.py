"""The kernels of finite networks against their limit, and against what one might have written in its place.

A mean over seeds may differ from the limit by five standard errors and by the finite width's own bias, which is of
order 1/n: measured at n = 32 it is below one diagonal entry over n, and three are allowed. Every wrong limit must fail.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import sqrt

import pytest
import torch
from kernel_cases import draw
from torch import Tensor

from tpbench.architecture import (
    Attention,
    BatchNormalised,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)
from tpbench.limits.kernels import Kernels, architecture_kernels, architectures, batch
from tpbench.limits.kernels.state import State
from tpbench.networks.architectures import initial
from tpbench.networks.tangent import empirical_kernels

WIDTH, SEEDS = 96, 320
CPU = torch.device("cpu")
STRONG = {"activation": "erf", "sigma_w": 2.0, "sigma_b": 0.3}


@dataclass(frozen=True)
class Case:
    """An architecture, its inputs, and the architecture whose limit is the natural wrong answer."""

    of: object
    x: Tensor
    rival: object


CASES = {
    "residual": Case(Residual(sigma_w=1.5), draw(3, 5), Perceptron(depth=3, sigma_w=1.5)),
    "rnn-mean": Case(Recurrent(**STRONG), draw(3, 4, 3), Recurrent(tied=False, **STRONG)),
    "rnn-fresh": Case(Recurrent(tied=False, **STRONG), draw(3, 4, 3), Recurrent(**STRONG)),
    "rnn-last": Case(Recurrent(readout="last", **STRONG), draw(3, 4, 3), Recurrent(**STRONG)),
    "conv-flatten": Case(Convolution(**STRONG), draw(3, 4, 3), Convolution(readout="mean", **STRONG)),
    "conv-mean": Case(Convolution(readout="mean", **STRONG), draw(3, 4, 3), Convolution(**STRONG)),
    "conv-zero": Case(
        Convolution(depth=1, padding="zero", filter=(3, 3), **STRONG),
        draw(2, 2, 3, 2),
        Convolution(depth=1, padding="circular", filter=(3, 3), **STRONG),
    ),
    "layernorm": Case(LayerNormalised(**STRONG), draw(3, 5), Perceptron(**STRONG)),
    "attention": Case(Attention(**STRONG), draw(3, 4, 3), Attention(tied=False, **STRONG)),
    "attention-free": Case(Attention(tied=False, **STRONG), draw(3, 4, 3), Attention(**STRONG)),
    "batchnorm": Case(BatchNormalised(**STRONG), draw(8, 12), LayerNormalised(**STRONG)),
    "batchnorm-constant": Case(
        BatchNormalised(statistics="constant", **STRONG), draw(8, 12), LayerNormalised(**STRONG)
    ),
    "batchnorm-relu": Case(
        BatchNormalised(activation="relu", sigma_w=1.5), draw(8, 12), LayerNormalised(activation="relu", sigma_w=1.5)
    ),
}


@cache
def sampled(name: str) -> tuple[Tensor, Tensor]:
    """(nngp, ntk) of SEEDS networks of a case, both (seed, N, N)."""
    case = CASES[name]
    parts = [
        empirical_kernels(initial(case.of, WIDTH, range(first, first + 80), device=CPU, dtype=torch.float64), case.x)
        for first in range(0, SEEDS, 80)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def limit_of(of: object, x: Tensor) -> Kernels:
    if isinstance(of, BatchNormalised):
        return batch.batch_kernels(of, x, points=1 << 13)  # errors of a tenth of the seeds'
    return architecture_kernels(of, x)


def agrees(seeds: Tensor, limit: Tensor) -> bool:
    error = seeds.std(dim=0) / sqrt(SEEDS)
    bias = 3 * limit.diagonal().mean() / WIDTH
    return bool(((seeds.mean(dim=0) - limit).abs() <= 5 * error + bias).all())


@pytest.mark.parametrize("name", CASES)
def test_finite_networks_approach_the_limit_and_not_its_rival(name: str) -> None:
    nngp, ntk = sampled(name)
    limit, rival = (limit_of(of, CASES[name].x) for of in (CASES[name].of, CASES[name].rival))
    assert agrees(nngp, limit.nngp)
    assert agrees(ntk, limit.ntk)
    assert not agrees(nngp, rival.nngp)
    assert not agrees(ntk, rival.ntk)


def test_a_skip_that_was_left_out_of_the_tangent_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = architectures.add

    def wrong(skip: State, branch: State, scale: float) -> State:
        return replace(right(skip, branch, scale), ntk=scale**2 * branch.ntk)

    monkeypatch.setattr(architectures, "add", wrong)
    limit = limit_of(CASES["residual"].of, CASES["residual"].x)
    assert agrees(sampled("residual")[0], limit.nngp)
    assert not agrees(sampled("residual")[1], limit.ntk)


def test_a_spread_of_the_batch_taken_for_a_constant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the mean over the batch is differentiated, which is what a layer norm may do."""
    wrong = (batch.MOVES["differentiated"][0], batch.MOVES["constant"][1])
    monkeypatch.setattr(batch, "MOVES", {"differentiated": wrong})
    limit = limit_of(CASES["batchnorm-relu"].of, CASES["batchnorm-relu"].x)
    assert agrees(sampled("batchnorm-relu")[0], limit.nngp)
    assert not agrees(sampled("batchnorm-relu")[1], limit.ntk)


def test_statistics_taken_for_constants_are_noticed_in_the_tangent_kernel_alone() -> None:
    limit = limit_of(CASES["batchnorm"].of, CASES["batchnorm"].x)
    assert agrees(sampled("batchnorm-constant")[0], limit.nngp)
    assert not agrees(sampled("batchnorm-constant")[1], limit.ntk)


def test_a_tangent_kernel_without_paths_through_earlier_times_is_noticed() -> None:
    """Only the read-out's weights and those at the last time are counted."""
    case = CASES["rnn-last"]
    nngp = limit_of(case.of, case.x).nngp
    assert not agrees(sampled("rnn-last")[1], 2 * nngp)
