"""Inner products of long vectors are those of a plain batched product."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tpbench.weights.products import CHUNK, LONG, inner

Normal = Callable[..., torch.Tensor]


@pytest.mark.parametrize("size", [7, LONG - 1, LONG, LONG + 5, LONG + CHUNK])
@pytest.mark.parametrize(("a", "b"), [(3, 5), (0, 2), (4, 0), (1, 1)])
def test_agrees_with_a_batched_product(normal: Normal, agree: Callable[..., None], size: int, a: int, b: int) -> None:
    x, y = normal(2, a, size), normal(2, b, size, seed=1)
    found = inner(x, y)
    assert found.shape == (2, a, b)
    if found.numel():
        agree(found, torch.bmm(x, y.mT), 1e-12, floor=size**0.5)


def test_takes_rows_of_a_larger_buffer(normal: Normal, agree: Callable[..., None]) -> None:
    buffer = normal(2, 9, LONG + 3)
    agree(inner(buffer[:, 2:4], buffer[:, :6]), torch.bmm(buffer[:, 2:4], buffer[:, :6].mT), 1e-12)


def test_rounds_less_than_it_loses(normal: Normal) -> None:
    x = normal(1, 1, 2**20).float()
    exact = float((x.double() ** 2).sum())
    assert abs(float(inner(x, x)) - exact) < 1e-6 * exact
