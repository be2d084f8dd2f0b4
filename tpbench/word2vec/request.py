"""What a user asks of ``tpbench word2vec``, and which kind of training that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from tpbench.data.corpus import Corpus
from tpbench.networks.infinite import SEEDS_APART
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.train import Training
from tpbench.parametrization import Parametrization
from tpbench.parametrization.word2vec import check_feature_learning, kernel_terms

INFINITY = "inf"
FINITE, FEATURES, KERNEL, COMPRESSED = "finite", "identity", "kernel limit", "compressed"


@dataclass(frozen=True)
class Request:
    """What is to be trained: ``width`` None is the infinite network, which is one whatever ``seeds`` is.

    ``first_seed`` chooses the set of seeds, and what is random about a kernel limit's first function. ``processes``
    share the feature-learning limit out between them (``tpbench.word2vec.shared``); ``rank`` compresses it to so many
    columns.
    """

    corpus: Corpus
    architecture: str
    zero_output: bool
    width: int | None
    parametrization: Parametrization
    training: Training
    sampling: Sampling
    device: torch.device
    seeds: int = 4
    first_seed: int = 0
    base_width: int = 64
    checkpoint: Path | None = None
    processes: int = 1
    rank: int | None = None

    @property
    def kind(self) -> str:
        """Which kind of training this is; ``ValueError`` where the parametrization has neither limit."""
        return kind_of(self.width, self.parametrization, zero_output=self.zero_output, compressed=self.rank is not None)

    def seed_numbers(self) -> tuple[int, ...]:
        """Return the seeds of the networks."""
        first = self.first_seed * SEEDS_APART
        return tuple(range(first, first + (1 if self.width is None else self.seeds)))


def kind_of(width: int | None, parametrization: Parametrization, *, zero_output: bool, compressed: bool = False) -> str:
    """Return which kind of training this is; ``ValueError`` where there is none such.

    That is where the parametrization has neither limit, or what is to be compressed is not the feature-learning one of
    a zero output.
    """
    if compressed:
        kind = kind_of(width, parametrization, zero_output=zero_output)
        if kind != FEATURES or not zero_output:
            raise ValueError(
                "--compressed is for the feature-learning limit whose output starts at zero: give --width inf and a "
                f"table such as mup, and no --random-output; this is a {kind} training, so leave --compressed out"
            )
        return COMPRESSED
    if width is not None:
        return FINITE
    try:
        check_feature_learning(parametrization, zero_output=zero_output)
        return FEATURES
    except ValueError as no_features:
        try:
            kernel_terms(parametrization, zero_output=zero_output)
            return KERNEL
        except ValueError as no_kernel:
            raise ValueError(
                f"no infinite-width limit is known here, so give a --width. {no_features}. {no_kernel}"
            ) from no_kernel
