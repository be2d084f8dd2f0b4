"""Shared by all tests: one thread for torch, hypothesis without deadlines, one measure of agreement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

# No deadline: the machines that run the tests are shared.
settings.register_profile("tpbench", deadline=None, max_examples=40)
settings.load_profile("tpbench")
torch.set_num_threads(1)

Agree = Callable[..., None]


@pytest.fixture(scope="session")
def agree() -> Agree:
    """``agree(actual, expected, rtol=1e-10)``: equal shapes, and every difference within rtol of the largest entry.

    Takes tensors and arrays. The scale is one number for the whole array, at least ``floor``, so that entries that
    are small by cancellation are not held to their own size; NaN and infinity never agree.
    """

    def check(actual: Any, expected: Any, rtol: float = 1e-10, floor: float = 0.0) -> None:
        a, b = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x) for x in (actual, expected))
        assert a.shape == b.shape
        assert np.isfinite(b).all(), "the expected values are not finite: the test proves nothing"
        scale = max(float(np.abs(b).max()), floor)
        error = float(np.abs(a.astype(np.float64) - b).max())
        assert error <= rtol * scale, f"differs by {error / scale:.2e} of the largest entry {scale:.3g}"

    return check


@pytest.fixture(scope="session")
def normal() -> Callable[..., torch.Tensor]:
    """``normal(*shape, seed=0)``: standard normal numbers on the CPU in float64, from a generator of their own."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        source = torch.Generator(device="cpu").manual_seed(seed)
        return torch.randn(shape, generator=source, dtype=torch.float64, device="cpu")

    return draw
