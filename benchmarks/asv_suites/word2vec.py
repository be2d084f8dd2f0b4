"""Time and memory of word2vec's steps, finite and infinite, and the infinite network's distance from finite ones."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from tpbench.data.corpus.planted import planted
from tpbench.networks.cost import peak_bytes
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Training, train
from tpbench.parametrization import named

CPU, BLOCKS = torch.device("cpu"), 32


def path(dtype: torch.dtype) -> Path:
    return Path(planted(tokens=20_000), Sampling(subsample=0), CPU, dtype)


def run(vectors: Vectors, path: Path) -> None:
    for _ in islice(train(vectors, path, Training(epochs=1, rate=0.01)), BLOCKS):
        pass


class Steps:
    """32 steps on blocks of 256 words of one float32 network, its path included."""

    params = (["cbow", "skip-gram"], [64, 1024])
    param_names = ("architecture", "width")
    timeout = 120.0

    def setup(self, architecture: str, width: int) -> None:
        torch.set_num_threads(1)
        self.path = path(torch.float32)
        network = Word2Vec(len(self.path.corpus.vocabulary), width, architecture)
        self.vectors = initialise(network, named("mup"), [0], device=CPU, dtype=torch.float32)

    def time_steps(self, architecture: str, width: int) -> None:
        run(self.vectors, self.path)

    time_steps.version = "1"  # type: ignore[attr-defined]

    def track_tensor_bytes(self, architecture: str, width: int) -> int:
        """The most bytes that 32 steps add to the tables: buffers and the path."""
        return peak_bytes(lambda: run(self.vectors, self.path))

    track_tensor_bytes.version = "1"  # type: ignore[attr-defined]
    track_tensor_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Limit:
    """The infinite network of some 800 words."""

    timeout = 120.0

    def setup(self) -> None:
        torch.set_num_threads(1)
        self.path = path(torch.float32)
        self.network = Word2Vec(len(self.path.corpus.vocabulary), 1)

    def start(self) -> Vectors:
        return identity(self.network, named("mup"), device=CPU, dtype=torch.float32)

    def time_steps(self) -> None:
        run(self.start(), self.path)

    time_steps.version = "1"  # type: ignore[attr-defined]

    def track_distance_slope(self) -> float:
        """How far the power of n of the Gram matrices' error is from -1/2, at least 0.02."""
        limit, errors, widths = self.start(), [], (64, 256, 1024)
        run(limit, self.path)
        words = torch.arange(self.network.words, device=CPU)
        for width in widths:
            network = Word2Vec(self.network.words, width)
            vectors = initialise(network, named("mup"), [0, 1], device=CPU, dtype=torch.float32)
            run(vectors, self.path)
            errors.append(float((vectors.gram(words) - limit.gram(words)).square().mean().sqrt()))
        return max(0.02, abs(float(np.polyfit(np.log(widths), np.log(errors), 1)[0]) + 0.5))

    track_distance_slope.version = "1"  # type: ignore[attr-defined]
