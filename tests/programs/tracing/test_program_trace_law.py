"""A traced program at width n has the law of the PyTorch code at width n; programs with planted faults have not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import pytest
import torch
from torch import Tensor
from traced_models import MODELS, Recurrent, at_width, inputs, trained

from tpbench.programs import Program, sample, trace

WIDTH, SEEDS = 12, 400
FAR = 4.5
"""Standard errors; about a hundred comparisons are made."""


@cache
def code(name: str) -> dict[str, Tensor]:
    return at_width(MODELS[name], trained(), WIDTH, SEEDS)


def farthest(program: Program, expected: Mapping[str, Tensor]) -> float:
    """Return the largest distance of first and second moments, in standard errors."""
    found = sample(program, WIDTH, 4 * SEEDS)
    assert set(found) == set(expected)
    distances = []
    for name, value in expected.items():
        for power in (1, 2):
            ours, theirs = found[name] ** power, value**power
            error = (ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt()
            distances.append(float((ours.mean() - theirs.mean()).abs() / error))
    return max(distances)


@pytest.mark.parametrize("name", MODELS)
def test_two_steps_of_training_have_the_law_of_the_code(name: str) -> None:
    assert farthest(trace(MODELS[name], trained()), code(name)) < FAR


@pytest.mark.parametrize("name", ["mlp", "layernorm"])
def test_a_forgotten_update_is_noticed(name: str) -> None:
    assert farthest(trace(MODELS[name], trained(scale=0.0)), code(name)) > FAR


def overlap(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return what two uses of hidden weights have in common, one number for each example."""
    assert isinstance(model, Recurrent)
    x, _ = inputs()
    h = torch.tanh(model.read_in(x))
    return {"overlap": (model.hidden(h) * model.other(h)).mean(dim=-1)}


def test_weights_that_are_traced_as_untied_are_noticed() -> None:
    expected = at_width(Recurrent, overlap, WIDTH, SEEDS)
    assert farthest(trace(Recurrent, overlap), expected) < FAR
    untied = trace(partial(Recurrent, tied=False), overlap)
    assert len(untied.matrices) == 2
    assert farthest(untied, expected) > 2 * FAR


def test_tied_weights_are_one_matrix_that_is_used_both_ways() -> None:
    program = trace(Recurrent, trained(1))
    assert len(program.matrices) == 1
    assert program.fragment == "NETSOR⊤⁺"


def test_lazy_matrices_have_the_same_law() -> None:
    program = trace(MODELS["mlp"], trained(1))
    dense, lazy = (sample(program, WIDTH, SEEDS, weights=weights) for weights in ("dense", "lazy"))
    for name, value in dense.items():
        error = (value.var() / SEEDS + lazy[name].var() / SEEDS).sqrt()
        assert abs(float(value.mean() - lazy[name].mean())) < FAR * float(error)


def test_default_initialisation_has_its_uniform_laws() -> None:
    """Uniform vectors are exact: U(−1, 1) has fourth moment 1/5."""

    def run(layer: torch.nn.Module) -> dict[str, Tensor]:
        assert isinstance(layer, torch.nn.Linear)
        return {"second": layer.weight.square().mean(), "fourth": (layer.weight**4).mean()}

    found = sample(trace(lambda n: torch.nn.Linear(1, n), run), 50_000, 4)
    torch.testing.assert_close(found["second"].mean().item(), 1 / 3, rtol=0.01, atol=0)
    torch.testing.assert_close(found["fourth"].mean().item(), 1 / 5, rtol=0.01, atol=0)
