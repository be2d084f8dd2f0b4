"""The limits of word2vec without a width axis: equal to networks started at the identity, and to finite networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from tpbench.data.corpus import planted
from tpbench.data.corpus.corpus import Corpus
from tpbench.limits.word2vec import Moments, Position, Step, feature_learning_step, kernel_step, start, step_of
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.kernel_limit import kernel_limit, kernel_step_
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Block, Path, Sampling
from tpbench.networks.word2vec.step import step_, workspace
from tpbench.parametrization import named
from tpbench.parametrization.word2vec import kernel_terms

Agree = Callable[..., None]
CPU = torch.device("cpu")
F64 = torch.float64
BLOCKS, RATE, DECAY = 40, 0.1, 1e-2
CASES = list(itertools.product(("cbow", "skip-gram"), (True, False)))
PLAN = planted.Plan(groups=4, words_a_group=2, words_a_relation=2, filler_words=6)


@cache
def corpus() -> Corpus:
    """Return a planted corpus of 38 words."""
    return planted.build(planted.material(PLAN, tokens=8000))


@cache
def blocks() -> tuple[Block, ...]:
    sampling = Sampling(window=3, negatives=4, subsample=1e-2, block=64, tile=16, seed=0)
    return tuple(itertools.islice(Path(corpus(), sampling, CPU, F64).epoch(0), BLOCKS))


def positions(block: Block) -> list[Position]:
    """Return a block as its positions, read off its words and masks one by one."""
    tiles, tile, _ = block.near.shape
    rows, targets = block.rows.view(tiles, -1), block.outputs[: tiles * tile].view(tiles, tile)
    negatives = block.outputs[tiles * tile :].view(tiles, -1)
    return [
        Position(rows[t][block.near[t, p] > 0].tolist(), int(targets[t, p]), negatives[t].tolist())
        for t in range(tiles)
        for p in range(tile)
    ]


@cache
def steps(architecture: str) -> tuple[Step, ...]:
    return tuple(step_of(positions(block), len(corpus().vocabulary), architecture) for block in blocks())


def moments_of(vectors: Vectors) -> Moments:
    e, c = (vectors.by_seed(table)[0].numpy() for table in (vectors.embedding, vectors.output))
    n = vectors.network.width
    return Moments(e @ e.T / n, e @ c.T, c @ c.T * n)


def after_network(vectors: Vectors, rate: float = RATE) -> Moments:
    """Return the moments of a network after all blocks."""
    room = workspace(vectors, Sampling(window=3, negatives=4, subsample=1e-2, block=64, tile=16, seed=0))
    for block in blocks():
        step_(vectors, block, room, rate=rate, decay=DECAY)
    return moments_of(vectors)


def after_recursion(moments: Moments, architecture: str, rate: float = RATE) -> Moments:
    for step in steps(architecture):
        moments = feature_learning_step(moments, step, rate=rate, decay=DECAY)
    return moments


def parts(moments: Moments) -> tuple[np.ndarray, ...]:
    return moments.embedding, moments.logits, moments.output


def network(architecture: str, *, zero_output: bool, width: int = 1) -> Word2Vec:
    return Word2Vec(len(corpus().vocabulary), width, architecture, zero_output)


@pytest.mark.parametrize(("architecture", "zero_output"), CASES)
def test_the_network_started_at_the_identity_has_these_moments(
    agree: Agree, architecture: str, zero_output: bool
) -> None:
    net = network(architecture, zero_output=zero_output)
    trained = after_network(identity(net, named("mup"), device=CPU, dtype=F64))
    by_recursion = after_recursion(start(net.words, zero_output=zero_output), architecture)
    for mine, theirs in zip(parts(by_recursion), parts(trained), strict=True):
        agree(mine, theirs, rtol=1e-12)
    # Embeddings moved far, so that agreement is about feature learning.
    assert np.abs(by_recursion.embedding - np.diag(np.diag(by_recursion.embedding))).max() > 0.1


@pytest.mark.parametrize(("architecture", "zero_output"), CASES)
def test_a_finite_network_has_them_too_from_its_own_start(agree: Agree, architecture: str, zero_output: bool) -> None:
    vectors = initialise(
        network(architecture, zero_output=zero_output, width=7), named("mup"), [3], device=CPU, dtype=F64
    )
    by_recursion = after_recursion(moments_of(vectors), architecture)
    for mine, theirs in zip(parts(by_recursion), parts(after_network(vectors)), strict=True):
        agree(mine, theirs, rtol=1e-11)


@pytest.mark.parametrize(("architecture", "zero_output"), CASES)
def test_finite_networks_close_in_on_it_by_the_root_of_the_width(architecture: str, zero_output: bool) -> None:
    # Blocks hold each of these few words many times: at higher rates steps overshoot, and differences grow to order 1.
    rate = 0.02
    limit = after_recursion(start(len(corpus().vocabulary), zero_output=zero_output), architecture, rate)

    def error(width: int) -> float:
        net = network(architecture, zero_output=zero_output, width=width)
        finite = (initialise(net, named("mup"), [seed], device=CPU, dtype=F64) for seed in range(4))
        squares = [np.square(after_network(each, rate).embedding - limit.embedding).mean() for each in finite]
        return float(np.sqrt(np.mean(squares)))

    slope = np.log(error(2048) / error(128)) / np.log(2048 / 128)
    assert abs(slope + 0.5) < 0.12


@pytest.mark.parametrize(("architecture", "zero_output"), CASES)
def test_the_kernel_limit_is_the_kernel_regime_of_the_same_moments(
    agree: Agree, architecture: str, zero_output: bool
) -> None:
    net, table = network(architecture, zero_output=zero_output), named("ntp")
    terms = kernel_terms(table, zero_output=zero_output)
    first = None if zero_output else np.random.default_rng(0).standard_normal((net.words, net.words))
    moments = start(net.words, zero_output=zero_output, logits=first)
    engine = kernel_limit(
        net,
        table,
        device=CPU,
        dtype=F64,
        word_logits=None if first is None else torch.as_tensor(first, device=CPU),
    )
    for block, step in zip(blocks(), steps(architecture), strict=True):
        moments = kernel_step(moments, step, rate=RATE, decay=DECAY, terms=terms)
        kernel_step_(engine, block, rate=RATE, decay=DECAY)
    agree(moments.logits, engine.word_logits(), rtol=1e-12)
    agree(np.diag(moments.embedding), engine.squared_norms()[0], rtol=1e-12)


def test_a_kernel_that_forgets_the_outputs_own_term_is_another(agree: Agree) -> None:
    words = len(corpus().vocabulary)
    both, one = (
        kernel_step(start(words, zero_output=False), steps("cbow")[0], rate=RATE, decay=DECAY, terms=terms)
        for terms in ((1.0, 1.0), (1.0, 0.0))
    )
    with pytest.raises(AssertionError):
        agree(one.logits, both.logits, rtol=0.1)


@pytest.mark.parametrize("fault", ["decay", "positive", "mixture"])
def test_a_fault_in_a_step_is_seen(agree: Agree, fault: str) -> None:
    net = network("cbow", zero_output=True)
    trained = after_network(identity(net, named("mup"), device=CPU, dtype=F64))
    moments = start(net.words)
    for number, step in enumerate(steps("cbow")):
        wrong = step if number != 20 or fault == "decay" else replace(step, **{fault: getattr(step, fault) * 1.01})
        decay = DECAY * (1.01 if fault == "decay" and number == 20 else 1)
        moments = feature_learning_step(moments, wrong, rate=RATE, decay=decay)
    with pytest.raises(AssertionError):
        agree(moments.logits, trained.logits, rtol=1e-9)


def test_renaming_words_renames_the_moments(agree: Agree) -> None:
    words = len(corpus().vocabulary)
    order = np.random.default_rng(1).permutation(words)
    renamed, moments = start(words), start(words)
    for block in blocks()[:10]:
        seen = positions(block)
        new = [
            Position([int(order[w]) for w in p.context], int(order[p.target]), [int(order[w]) for w in p.negatives])
            for p in seen
        ]
        moments = feature_learning_step(moments, step_of(seen, words, "cbow"), rate=RATE, decay=DECAY)
        renamed = feature_learning_step(renamed, step_of(new, words, "cbow"), rate=RATE, decay=DECAY)
    agree(renamed.embedding[np.ix_(order, order)], moments.embedding, rtol=1e-12)


def test_one_pair_by_hand(agree: Agree) -> None:
    """Word 0 predicts word 1 against word 2: with B = 0 the derivatives are -1/2 and 1/2."""
    step = step_of([Position([0], 1, [2, 1])], 3, "cbow")
    after = feature_learning_step(start(3), step, rate=0.2, decay=0.0)
    agree(after.logits, np.array([[0, 0.1, -0.1], [0, 0, 0], [0, 0, 0]]))
    agree(after.output, np.array([[0, 0, 0], [0, 0.01, -0.01], [0, -0.01, 0.01]]))
    agree(after.embedding, np.eye(3))
    again = feature_learning_step(after, step, rate=0.2, decay=0.0)
    slope = 1 / (1 + np.exp(0.1))
    agree(again.embedding[0, 0], np.asarray((1 + 0.2 * 0.2 * slope) ** 2))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no word2vec architecture 'glove'; there are cbow, skip-gram"):
        step_of([], 3, "glove")
    with pytest.raises(ValueError, match=r"words are numbered 0 … 2, got 0 … 3"):
        step_of([Position([0], 3, [])], 3, "cbow")
    with pytest.raises(ValueError, match=r"the first logits of 3 words are \(3, 3\), got \(2, 3\)"):
        start(3, logits=np.zeros((2, 3)))
