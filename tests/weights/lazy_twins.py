"""Lazy matrices for tests, and dense parameters with the same entries."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import Axes, LazyGaussian
from tpbench.weights.matrix import LazyMatrix

CPU = torch.device("cpu")
OUT, IN, BATCH = 5, 4, 3


def lazy(
    shape: tuple[int, int] = (OUT, IN), *, seeds: int = 1, dtype: torch.dtype = torch.float64, **options: Any
) -> LazyMatrix:
    options = {"device": CPU, "std": 0.7, **options}
    axes = Axes(out=f"{shape[0]}", into=f"{shape[1]}")
    return LazyMatrix(LazyGaussian(shape, innovations=MonteCarlo(range(seeds)), axes=axes, dtype=dtype, **options))


def twins(shape: tuple[int, int] = (OUT, IN)) -> tuple[LazyMatrix, nn.Parameter]:
    """Return a lazy matrix that has been asked for everything, and a dense parameter with its entries."""
    matrix = lazy(shape)
    return matrix, nn.Parameter(matrix.materialise())


def unasked(matrix: LazyMatrix) -> nn.Parameter:
    """Return the initial entries of a matrix, whatever it has been asked and how often it has been stepped."""
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=CPU)[None]
    return nn.Parameter(matrix.materialise() - matrix.weights.update_matmul(eye)[0].mT)
