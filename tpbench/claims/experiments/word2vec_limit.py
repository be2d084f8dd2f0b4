"""Train word2vec on one path beside its limit, and measure how far apart they are at the recorded blocks.

``gram-error`` is the root mean square over pairs of words of E E^T/n minus its limit; ``output-error`` that of the
logits of all words at some contexts; ``loss-error`` the difference of the losses on positions that are not trained on.
``rival-share`` is the part of the logits' error along (rival - limit): the rival of a network that learns features is
the kernel limit of NTP, and the rival of a kernel is the feature-learning limit of muP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.word2vec_setup import Setup, of_config, rows_per_seed, setup
from tpbench.networks.word2vec.kernel_limit import kernel_loss, kernel_train
from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.train import mean_loss, train
from tpbench.parametrization import PARAMETRIZATIONS, Regime, regime

SECONDS = {Regime.FEATURE_LEARNING: "ntp", Regime.KERNEL: "mup"}
"""Regime -> the table of the rival, which is of the other regime."""


@dataclass(frozen=True)
class Reading:
    """What is seen of networks at one moment: ``gram`` (seed, words, words), ``logits`` (seed, contexts, words) and
    ``loss`` (seed,)."""

    gram: Tensor
    logits: Tensor
    loss: Tensor
