"""Inputs in the coordinates of their own span."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def span_coordinates(inputs: Array) -> Array:
    """Return inputs (examples, in) as (examples, rank): coordinates in their own span, scaled by sqrt(rank / in).

    A network with Gaussian first weights sees inputs only through their inner products divided by their dimension,
    at the start and in training, and those are kept: ``c cᵀ / rank = x xᵀ / in``. Where examples are fewer than
    features, the first layer of a very wide network is smaller by that ratio.
    """
    u, s, _ = np.linalg.svd(inputs, full_matrices=False)
    rank = max(1, int((s > s[0] * max(inputs.shape) * np.finfo(np.float64).eps).sum()))
    return np.asarray(u[:, :rank] * s[:rank] * np.sqrt(rank / inputs.shape[1]))
