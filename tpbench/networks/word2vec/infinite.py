"""The feature-learning limit of word2vec: the same network, as wide as its vocabulary, started at the identity.

With E_0 of independent coordinates, E_0 E_0^T/n tends to the identity, and so do the products that training forms:
every row of E and C stays a combination of the rows of E_0 (and of C_0, where that is random, which are orthogonal to
E_0's and to each other). The coefficients of those combinations are a network of width V (or 2V) whose initial rows
are orthogonal, trained with the same rates: the network of arXiv:2011.14522. A finite network is a random
sketch of it, whose Gram matrix on the same path of blocks and negatives is off by n^(-1/2).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from tpbench.networks.word2vec.model import Vectors, Word2Vec, rates_of
from tpbench.parametrization import Parametrization
from tpbench.parametrization.word2vec import check_feature_learning


def limit_width(words: int, *, zero_output: bool) -> int:
    """Return the width of the network that the limit is: one coordinate for every initial vector that is not 0."""
    return words if zero_output else 2 * words


def identity(
    network: Word2Vec,
    parametrization: Parametrization,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Vectors:
    """Return the infinite-width limit of a network at the start of training; ``network.width`` is not looked at.

    E = √n I at width n = V with zero output. With a random one n = 2V, E = √n [I, 0] and C = [0, I]/√n. Raises
    ``ValueError`` for tables that have another limit.
    """
    check_feature_learning(parametrization, zero_output=network.zero_output)
    width = limit_width(network.words, zero_output=network.zero_output)
    wide = replace(network, width=width)
    embedding = torch.zeros((network.words, width), dtype=dtype, device=device)
    embedding.diagonal().fill_(math.sqrt(width))
    output = torch.zeros_like(embedding)
    if not network.zero_output:
        output.diagonal(network.words).fill_(1 / math.sqrt(width))
    return Vectors(wide, embedding, output, *rates_of(wide, parametrization), seeds=1)
