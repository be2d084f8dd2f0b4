"""Seconds of word2vec's steps by width and architecture, and that its rival does the same work."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from word2vec_rival import Rival, answers
from word2vec_speed import CPU, exponent, gaussian, quality, tiled, zipf_text

from tpbench.data.corpus.corpus import build
from tpbench.data.corpus.planted import Plan, material
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Word2Vec
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Training, train
from tpbench.parametrization import named

BLOCKS = 16


@pytest.mark.benchmark(group="word2vec")
@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
@pytest.mark.parametrize("width", [64, 256, 1024])
def test_steps(benchmark: BenchmarkFixture, width: int, architecture: str) -> None:
    corpus = zipf_text(9000, 10_000)
    path = Path(corpus, Sampling(subsample=0), CPU, torch.float32)
    vectors = gaussian(corpus, width, architecture)
    before = vectors.embedding.clone()
    benchmark.extra_info.update(width=width, words=BLOCKS * path.sampling.block)

    def steps() -> None:
        for _ in islice(train(vectors, path, Training(epochs=1, rate=0.01)), BLOCKS):
            pass

    benchmark.pedantic(steps, rounds=5, warmup_rounds=1)
    assert vectors.embedding.isfinite().all()
    assert not torch.equal(vectors.embedding, before)


@pytest.mark.benchmark(group="word2vec-limit")
@pytest.mark.parametrize("words", [1000, 4000])
def test_steps_of_the_infinite_network(benchmark: BenchmarkFixture, words: int) -> None:
    path = Path(zipf_text(words, 5000), Sampling(subsample=0), CPU, torch.float32)
    limit = identity(Word2Vec(words, 1), named("mup"), device=CPU, dtype=torch.float32)

    def steps() -> None:
        for _ in islice(train(limit, path, Training(epochs=1, rate=0.01)), 4):
            pass

    benchmark.pedantic(steps, rounds=3, warmup_rounds=1)
    assert limit.embedding.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
def test_both_sides_learn_alike(architecture: str) -> None:
    """From the same first vectors, with negatives of a position's own, accuracies differ by what seeds differ by.

    Welch's statistic over 4 seeds a side; and training is needed for either.
    """
    pytest.importorskip("gensim")
    corpus = build(material(Plan(groups=20), 60_000))
    sampling = tiled(Sampling(window=5, negatives=10, subsample=1e-3, block=32))["ours, own negatives"]
    found = quality(architecture, width=32, epochs=3, seeds=4, corpus=corpus, samplings={"ours": sampling})
    ours, gensim = (np.array(found[side]) for side in ("ours", "gensim"))
    error = np.sqrt(ours.var(ddof=1) / 4 + gensim.var(ddof=1) / 4)
    assert abs(ours.mean() - gensim.mean()) < 4.5 * error
    start = gaussian(corpus, 32, architecture)
    assert min(ours.min(), gensim.min()) > 0.15 + answers(start.embedding.numpy(), corpus)


def test_the_rival_has_our_settings_and_text() -> None:
    pytest.importorskip("gensim")
    corpus = build(material(Plan(groups=10), 5000))
    rival = Rival(corpus, Sampling(window=7, negatives=4, subsample=0), "skip-gram", 24, words=1000)
    model = rival.model()
    assert (model.window, model.negative, model.sample, model.sg, model.cbow_mean) == (7, 4, 0, 1, 1)
    assert set(model.wv.key_to_index) == set(corpus.vocabulary)
    assert [model.wv.get_vecattr(word, "count") for word in corpus.vocabulary] == corpus.counts.tolist()
    assert not model.syn1neg.any()
    words = [word for sentence in rival.sentences for word in sentence]
    assert words == [corpus.vocabulary[word] for word in corpus.tokens[: len(words)]]
    assert 1000 <= len(words) < 1000 + 11
    assert rival.rate(1, from_file=False) > 0


def test_an_exponent_is_the_slope_of_a_power() -> None:
    assert exponent((1, 2, 4), [3.0, 12.0, 48.0]) == pytest.approx(2)
