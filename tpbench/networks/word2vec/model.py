"""word2vec as an ensemble: two tables of vectors a seed, and the factors of width that the abc table puts on them.

A context is the mean h of its words' embeddings, ``h = (1/c) Σ_w E_w`` (CBOW) or one word's (skip-gram), and the logit
of word j is ``f_j = h·C_j`` (arXiv:1301.3781, 1310.4546). E is the input layer of width n, C the read-out. At the base
width n0 every parametrization is the usual network, whose vectors E/√n0 and √n0 C have entries of variance 1/n0 and
share one rate eta. In our coordinates, with ratio q = n/n0,

    E = √n0 · q^(-a_1) e,   e ~ N(0, q^(-2 b_1)/n0),   rate  eta n0 q^(-2 a_1 - c_1),
    C = q^(-a_2)/√n0 · c,   c ~ N(0, q^(-2 b_2)/n0),   rate  (eta/n0) q^(-2 a_2 - c_2).

So E starts with coordinates N(0, 1) where a_1 + b_1 = 0. Under muP the rates are eta n and eta/n whatever n0: the
width-free rate for E/√n and √n C of arXiv:2011.14522's experiment.

Shapes: tables are (words, seed · width), one seed after the other in a row, so that a gathered row is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tpbench.parametrization import Parametrization, Role, did_you_mean, scale
from tpbench.weights.gaussian import standard_normal

ARCHITECTURES = ("cbow", "skip-gram")


@dataclass(frozen=True)
class Word2Vec:
    """The architecture: vocabulary and width; ``zero_output`` starts the read-out at 0, as word2vec does.

    ``whole_gradient`` gives every word of a CBOW context the gradient by the mean, as the original code and gensim do,
    where the chain rule gives it 1/c of that. Raises ``ValueError`` for sizes below 1, an unknown architecture, or a
    whole gradient where there is no mean.
    """

    words: int
    width: int
    architecture: str = "cbow"
    zero_output: bool = True
    whole_gradient: bool = False

    def __post_init__(self) -> None:
        if self.words < 2 or self.width < 1:
            raise ValueError(f"word2vec needs 2 words and width 1 at least, got {self.words} and {self.width}")
        if self.architecture not in ARCHITECTURES:
            hint = did_you_mean(self.architecture, dict.fromkeys(ARCHITECTURES))
            raise ValueError(f"unknown architecture {self.architecture!r}{hint}")
        if self.whole_gradient and self.architecture != "cbow":
            raise ValueError(
                f"whole_gradient is about the mean of a context, which {self.architecture!r} does not take: leave it "
                "False, or use 'cbow'"
            )


@dataclass(frozen=True)
class Vectors:
    """The networks of one ensemble: ``embedding`` E and ``output`` C, each (words, seeds · width).

    The rates are relative to eta. Training changes the tables in place; ``copy`` keeps a moment.
    """

    network: Word2Vec
    embedding: Tensor
    output: Tensor
    embedding_rate: float
    output_rate: float
    seeds: int

    def by_seed(self, table: Tensor) -> Tensor:
        """Return a table as (seed, words, width), without a copy."""
        return table.view(len(table), self.seeds, -1).transpose(0, 1)

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        """Return E E^T/n between some words and others (all by default), (seed, words, others).

        At infinite width it starts as the identity where a_1 + b_1 = 0.
        """
        table = self.by_seed(self.embedding)
        right = table if others is None else table[:, others]
        return table[:, words] @ right.mT / self.network.width

    def squared_norms(self) -> Tensor:
        """Return the diagonal of E E^T/n, (seed, words)."""
        return self.by_seed(self.embedding).square().sum(2) / self.network.width

    def copy(self) -> Vectors:
        """Return the same networks with tables of their own."""
        return replace(self, embedding=self.embedding.clone(), output=self.output.clone())


def initialise(
    network: Word2Vec,
    parametrization: Parametrization,
    seeds: Sequence[int],
    *,
    base_width: int = 1,
    device: torch.device,
    dtype: torch.dtype,
) -> Vectors:
    """Return Gaussian networks at initialisation; a seed's vectors do not depend on the ensemble it is drawn in."""

    def drawn(stream: str, std: float) -> Tensor:
        table = torch.empty((network.words, len(seeds) * network.width), dtype=dtype, device=device)
        for place, seed in enumerate(seeds):
            one = standard_normal([seed], stream, (network.words, network.width), dtype=dtype, device=device)
            table[:, place * network.width : (place + 1) * network.width] = one[0]
        return table.mul_(std)

    first, out = (scale(parametrization, role, network.width, base_width) for role in (Role.INPUT, Role.OUTPUT))
    embedding = drawn("embedding", first.multiplier * first.std)
    output = drawn("output", out.multiplier * out.std / base_width)
    if network.zero_output:
        output = torch.zeros_like(embedding)
    rates = rates_of(network, parametrization, base_width)
    return Vectors(network, embedding, output, *rates, len(seeds))


def rates_of(network: Word2Vec, parametrization: Parametrization, base_width: int = 1) -> tuple[float, float]:
    """Return the rates of E and C relative to eta, n0 q^(-2 a_1 - c_1) and q^(-2 a_2 - c_2)/n0."""
    first, out = (scale(parametrization, role, network.width, base_width) for role in (Role.INPUT, Role.OUTPUT))
    return base_width * first.multiplier**2 * first.rate, out.multiplier**2 * out.rate / base_width
