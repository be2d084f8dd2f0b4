"""The path: contexts and negatives against a slow loop, their laws, and that nothing but its arguments decides it."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from slow_word2vec import CPU, Position, corpus_of, kept_words, path_of, random_corpus, slow_epoch

from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec.sampling import BLOCKS_AT_ONCE, Block, Path, Sampling

CORPUS = random_corpus(words=30, tokens=900)
ENDLESS = random_corpus(words=30, tokens=900, longest=10**6)
SAMPLINGS = {
    "several groups of blocks": Sampling(window=3, negatives=4, subsample=0, block=4, tile=2),
    "subsampled": Sampling(window=5, negatives=7, subsample=0.01, block=32, tile=8, seed=11),
    "block longer than the text": Sampling(window=2, negatives=3, subsample=0.02, block=2048, tile=64, seed=2),
    "tile longer than a byte": Sampling(window=2, negatives=3, subsample=0, block=512, tile=512, seed=4),
    "window longer than a byte": Sampling(window=300, negatives=3, subsample=0, block=8, tile=4, seed=5),
    "one": Sampling(window=1, negatives=1, subsample=0, block=1, tile=1, seed=3),
}


def positions_of(block: Block) -> list[Position]:
    """Return what a block says, a position after the other; contexts in the order of the rows."""
    tiles, tile, reach = block.near.shape
    rows, targets = block.rows.view(tiles, reach), block.outputs[: tiles * tile].view(tiles, tile)
    negatives = block.outputs[tiles * tile :].view(tiles, -1)
    found = []
    for i, j in itertools.product(range(tiles), range(tile)):
        context = tuple(rows[i][block.near[i, j] == 1].tolist())
        found.append(Position(int(targets[i, j]), context, tuple(negatives[i].tolist())))
    return found


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("corpus", [CORPUS, ENDLESS], ids=["sentences", "one sentence"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_blocks_say_what_a_loop_over_positions_says(name: str, corpus: Corpus, epoch: int) -> None:
    sampling = SAMPLINGS[name]
    path = path_of(corpus, sampling)
    blocks, slow = list(path.epoch(epoch)), list(slow_epoch(corpus, sampling, epoch))
    assert len(blocks) == len(slow) == path.blocks(epoch)
    for block, positions in zip(blocks, slow, strict=True):
        ours = positions_of(block)
        assert len(ours) == sampling.block
        assert ours[: len(positions)] == positions
        assert all(not position.context for position in ours[len(positions) :])
        check_masks(block, ours)


def test_the_texts_above_differ_in_their_sentences() -> None:
    assert len(CORPUS.starts) > 100
    assert len(ENDLESS.starts) == 1


def check_masks(block: Block, positions: list[Position]) -> None:
    """Means, touches, presence and allowed negatives are those of the positions."""
    tiles, tile, reach = block.near.shape
    near = block.near.view(tiles * tile, reach)
    for place, position in enumerate(positions):
        present, size = bool(position.context), max(1, len(position.context))
        assert block.present.view(-1)[place] == present
        assert torch.equal(block.mean.view(tiles * tile, reach)[place], near[place] / size)
        expected = [float(present and word != position.target) for word in position.negatives]
        assert block.allowed.view(tiles * tile, -1)[place].tolist() == expected
    assert torch.equal(block.touches.view(tiles, reach), block.near.sum(1))


def test_contexts_do_not_cross_sentences() -> None:
    """Words of a sentence have its name; every context is of its target's sentence, and words alone have none."""
    sentences = [[f"{s}:{k}" for k in range(size)] for s, size in enumerate([1, 5, 2, 1, 30, 3, 1])]
    corpus = corpus_of(*sentences)
    for block in path_of(corpus, Sampling(window=8, subsample=0, block=32, tile=16)).epoch(0):
        for position in positions_of(block):
            names = {corpus.vocabulary[word].split(":")[0] for word in (position.target, *position.context)}
            assert not position.context or len(names) == 1
    alone = [p for b in slow_epoch(corpus, Sampling(subsample=0)) for p in b if not p.context]
    assert [corpus.vocabulary[p.target] for p in alone] == ["0:0", "3:0", "6:0"]


def long_text(tokens: int = 60_000, words: int = 50) -> Corpus:
    """Return one sentence of independent words with a falling law."""
    law = 1.0 / np.arange(1, words + 1)
    drawn = np.random.default_rng(1).choice(words, size=tokens, p=law / law.sum())
    return corpus_of([f"w{word}" for word in drawn])


TEXT = long_text()


def test_windows_are_uniform() -> None:
    """In the middle of a long sentence a context has twice its radius of words, 1 … window equally often."""
    sampling = Sampling(window=6, negatives=1, subsample=0, block=256, tile=32, seed=7)
    sizes = torch.cat([block.near.sum(2).flatten() for block in path_of(TEXT, sampling).epoch(0)])
    inside = sizes[6 : len(TEXT.tokens) - 6].numpy()
    values, counts = np.unique(inside, return_counts=True)
    assert values.tolist() == [2, 4, 6, 8, 10, 12]
    assert stats.chisquare(counts).pvalue > 1e-3
    one_missing = len(inside) * np.array([1, 1, 1, 1, 1, 0.9]) / 5.9
    assert stats.chisquare(counts, one_missing).pvalue < 1e-3


@pytest.mark.parametrize("threshold", [0.003, 0.03])
def test_subsampling_keeps_words_at_their_rates(threshold: float) -> None:
    """A word of frequency f stays with probability (sqrt(f/t) + 1) t/f, over 8 epochs that are drawn apart."""
    sampling = Sampling(window=1, negatives=1, subsample=threshold, block=256, tile=32)
    path = path_of(TEXT, sampling)
    counted = np.zeros(len(TEXT.counts))
    for epoch in range(8):
        for block in path.epoch(epoch):
            counted += np.bincount(block.outputs[:256][block.present.flatten() == 1], minlength=len(counted))
    total, frequency = 8 * TEXT.counts, TEXT.counts / len(TEXT.tokens)
    keep = np.minimum(1, np.sqrt(threshold / frequency) + threshold / frequency)
    sure = keep == 1
    assert sure.any()
    assert (~sure).any()
    assert (counted[sure] == total[sure]).all()
    scores = (counted - total * keep)[~sure] / np.sqrt(total * keep * (1 - keep))[~sure]
    assert np.abs(scores).max() < 4.5
    without_root = np.minimum(1, threshold / frequency)[~sure]
    wrong = (counted[~sure] - total[~sure] * without_root) / np.sqrt(total[~sure] * keep[~sure])
    assert np.abs(wrong).max() > 20


def test_negatives_follow_the_counts_to_the_power_of_three_quarters() -> None:
    sampling = Sampling(window=1, negatives=25, subsample=0, block=256, tile=32, seed=3)
    drawn = torch.cat([block.outputs[256:] for block in path_of(TEXT, sampling).epoch(0)]).numpy()
    counted = np.bincount(drawn, minlength=len(TEXT.counts))
    p_values = []
    for power in (0.75, 1.0, 0.7):
        law = TEXT.counts**power
        p_values.append(stats.chisquare(counted, len(drawn) * law / law.sum()).pvalue)
    assert p_values[0] > 1e-3
    assert max(p_values[1:]) < 1e-3


def test_epochs_and_seeds_are_different_paths() -> None:
    sampling = Sampling(window=3, negatives=5, subsample=0.05, block=64, tile=16)

    def law(seed: int, epoch: int) -> list[list[Position]]:
        return [positions_of(block) for block in path_of(CORPUS, replace(sampling, seed=seed)).epoch(epoch)]

    paths = [law(seed, epoch) for seed, epoch in itertools.product((0, 1), (0, 1))]
    assert all(first != second for first, second in itertools.combinations(paths, 2))
    assert law(0, 1) == paths[1]


def equal(first: Block, second: Block) -> bool:
    return all(torch.equal(getattr(first, each.name), getattr(second, each.name)) for each in fields(Block))


def test_an_epoch_taken_up_at_any_block_goes_on_as_it_would_have() -> None:
    sampling = Sampling(window=3, negatives=4, subsample=0.2, block=4, tile=2)
    path = path_of(CORPUS, sampling)
    whole = list(path.epoch(1))
    assert len(whole) > 2 * BLOCKS_AT_ONCE
    for start in (0, 1, BLOCKS_AT_ONCE - 1, BLOCKS_AT_ONCE, BLOCKS_AT_ONCE + 7, len(whole) - 1, len(whole)):
        rest = list(path.epoch(1, start))
        assert len(rest) == len(whole) - start
        assert all(map(equal, rest, whole[start:]))


def test_the_path_is_the_same_for_every_kind_of_number() -> None:
    sampling = SAMPLINGS["subsampled"]
    single = list(Path(CORPUS, sampling, CPU, torch.float32).epoch(0))
    double = list(Path(CORPUS, sampling, CPU, torch.float64).epoch(0))
    for one, two in zip(single, double, strict=True):
        assert one.mean.dtype == torch.float32
        assert two.mean.dtype == torch.float64
        assert positions_of(one) == positions_of(two)
        assert torch.equal(one.allowed.double(), two.allowed)
        torch.testing.assert_close(one.mean.double(), two.mean, rtol=1e-7, atol=0)


def test_every_kept_word_is_a_target_once_an_epoch() -> None:
    sampling = SAMPLINGS["subsampled"]
    targets = Counter(position.target for block in slow_epoch(CORPUS, sampling) for position in block)
    assert targets == Counter(word for word, _ in kept_words(CORPUS, sampling, 0))
    outputs = torch.cat([block.outputs[: sampling.block] for block in path_of(CORPUS, sampling).epoch(0)])
    assert outputs[: targets.total()].tolist() == [word for word, _ in kept_words(CORPUS, sampling, 0)]


def test_refusals_say_what_came() -> None:
    for name in ("window", "negatives", "block", "tile"):
        with pytest.raises(ValueError, match=f"needs a {name} of at least 1, got 0"):
            Sampling(**{name: 0})
    with pytest.raises(ValueError, match="100 positions are no multiple of 16"):
        Sampling(block=100)
    with pytest.raises(ValueError, match="subsample and seed are at least 0, got -1 and 0"):
        Sampling(subsample=-1)
    with pytest.raises(ValueError, match=r"at least 0, got 0.0001 and -1"):
        Sampling(seed=-1)
