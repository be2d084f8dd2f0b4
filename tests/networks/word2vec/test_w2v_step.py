"""The step of word2vec: its gradients against autograd and loops, and the laws that leave it unchanged."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from slow_word2vec import (
    CPU,
    corpus_of,
    loops_step,
    network,
    path_of,
    plain_loss,
    plain_step,
    random_corpus,
    slow_epoch,
    tables,
)

from tpbench.networks.word2vec.model import ARCHITECTURES, Vectors, Word2Vec, initialise, rates_of
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.step import pairs, step_, workspace
from tpbench.networks.word2vec.train import Training, mean_loss, train
from tpbench.parametrization import PARAMETRIZATIONS, Role, named

SAMPLINGS = {
    "small": Sampling(window=2, negatives=3, subsample=0, block=8, tile=4),
    "one tile": Sampling(window=3, negatives=5, subsample=0.05, block=6, tile=6, seed=1),
    "tiles of one": Sampling(window=1, negatives=1, subsample=0, block=3, tile=1, seed=2),
    "wide window": Sampling(window=9, negatives=12, subsample=0, block=16, tile=2, seed=3),
}
CORPUS = random_corpus(words=7, tokens=60)
"""Seven words: contexts repeat words, negatives repeat each other and equal targets, sentences have 1 to 12 words."""


def steps(vectors: Vectors, sampling: Sampling, decay: float, rate: float = 0.3) -> None:
    """Train on an epoch at one rate."""
    room = workspace(vectors, sampling)
    for block in path_of(CORPUS, sampling).epoch(0):
        step_(vectors, block, room, rate=rate, decay=decay)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_steps_are_those_of_autograd_on_a_loop_over_positions(
    architecture: str, name: str, decay: float, agree: Callable[..., None]
) -> None:
    """Every block of an epoch, of which the last is filled up with absent positions, for three seeds at once."""
    sampling, rate = SAMPLINGS[name], 0.02
    vectors = network(CORPUS, 5, architecture, seeds=[0, 1, 2])
    slow = list(tables(vectors.copy()))
    room = workspace(vectors, sampling)
    rates = (rate * vectors.embedding_rate, rate * vectors.output_rate)
    blocks = zip(path_of(CORPUS, sampling).epoch(0), slow_epoch(CORPUS, sampling), strict=True)
    for block, positions in blocks:
        seen = pairs(vectors, block, room).loss()
        agree(seen, torch.stack([plain_loss(e, c, positions, architecture) for e, c in slow]), 1e-12, floor=1.0)
        step_(vectors, block, room, rate=rate, decay=decay)
        slow = [plain_step(e, c, positions, architecture, rates=rates, decay=rate * decay) for e, c in slow]
        for ours, theirs in zip(tables(vectors), slow, strict=True):
            agree(ours[0], theirs[0], 1e-11)
            agree(ours[1], theirs[1], 1e-11)


def test_the_cases_above_have_what_is_hard() -> None:
    """The corpus and path hold what the test above is for; else it would prove nothing."""
    seen = [position for s in SAMPLINGS.values() for block in slow_epoch(CORPUS, s) for position in block]
    assert any(not position.context for position in seen)
    assert any(len(set(position.context)) < len(position.context) for position in seen)
    assert any(position.target in position.context for position in seen)
    assert any(position.target in position.negatives for position in seen)
    assert any(len(set(position.others)) < len(position.others) for position in seen)
    assert any(sum(1 for _ in CORPUS.tokens) % s.block for s in SAMPLINGS.values())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steps_are_those_of_a_loop_over_pairs(architecture: str, agree: Callable[..., None]) -> None:
    """A third road without autograd."""
    sampling = SAMPLINGS["small"]
    vectors = network(CORPUS, 4, architecture)
    ((e, c),) = tables(vectors.copy())
    rates = (0.3 * vectors.embedding_rate, 0.3 * vectors.output_rate)
    for positions in slow_epoch(CORPUS, sampling):
        e, c = loops_step(e, c, positions, architecture, rates=rates)
    steps(vectors, sampling, decay=0.0)
    agree(vectors.embedding, e, 1e-11)
    agree(vectors.output, c, 1e-11)


def test_the_whole_gradient_is_that_of_the_original_code(agree: Callable[..., None]) -> None:
    """Every word of a context moves as the mean would: a loop over positions, as in word2vec.c."""
    sampling = SAMPLINGS["small"]
    vectors = network(CORPUS, 4, "cbow")
    vectors = replace(vectors, network=replace(vectors.network, whole_gradient=True))
    ((e, c),) = tables(vectors.copy())
    rates = (0.05 * vectors.embedding_rate, 0.05 * vectors.output_rate)
    for block, positions in zip(path_of(CORPUS, sampling).epoch(0), slow_epoch(CORPUS, sampling), strict=True):
        e, c = loops_step(e, c, positions, "cbow", rates=rates, whole=True)
        step_(vectors, block, workspace(vectors, sampling), rate=0.05, decay=0.0)
        agree(vectors.embedding, e, 1e-11)
        agree(vectors.output, c, 1e-11)
    plain = network(CORPUS, 4, "cbow")
    steps(plain, sampling, decay=0.0, rate=0.05)
    assert float((plain.embedding - e).abs().max()) > 0.01
    with pytest.raises(ValueError, match="whole_gradient is about the mean of a context, which 'skip-gram' does not"):
        Word2Vec(7, 4, "skip-gram", whole_gradient=True)


@pytest.mark.parametrize(
    ("architecture", "fault"),
    [
        ("cbow", "own word in its context"),
        ("skip-gram", "own word in its context"),
        ("cbow", "negative equal to the target"),
        ("skip-gram", "negative equal to the target"),
        ("cbow", "mean without its size"),
    ],
)
def test_a_wrong_block_is_seen(architecture: str, fault: str) -> None:
    """Plant: blocks with a fault give other tables than the loops do."""
    sampling = SAMPLINGS["small"]
    vectors = network(CORPUS, 4, architecture)
    ((e, c),) = tables(vectors.copy())
    block, positions = next(path_of(CORPUS, sampling).epoch(0)), next(slow_epoch(CORPUS, sampling))
    diagonal = torch.zeros_like(block.near)
    diagonal[:, torch.arange(4, device=CPU), torch.arange(4, device=CPU) + sampling.window] = 1.0
    wrong = {
        "own word in its context": replace(block, near=block.near + diagonal, mean=block.mean + diagonal),
        "negative equal to the target": replace(block, allowed=block.present.expand_as(block.allowed).contiguous()),
        "mean without its size": replace(block, mean=block.near),
    }[fault]
    rates = (vectors.embedding_rate, vectors.output_rate)
    e, c = plain_step(e, c, positions, architecture, rates=rates, decay=0.0)
    step_(vectors, wrong, workspace(vectors, sampling), rate=1.0, decay=0.0)
    assert max(float((vectors.embedding - e).abs().max()), float((vectors.output - c).abs().max())) > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_seeds_trained_together_or_apart_are_the_same_networks(architecture: str, agree: Callable[..., None]) -> None:
    together = network(CORPUS, 6, architecture, seeds=[4, 0, 9])
    steps(together, SAMPLINGS["small"], decay=0.01)
    for (e, c), seed in zip(tables(together), (4, 0, 9), strict=True):
        alone = network(CORPUS, 6, architecture, seeds=[seed])
        steps(alone, SAMPLINGS["small"], decay=0.01)
        agree(e, alone.embedding, 1e-12)
        agree(c, alone.output, 1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_rotation_of_the_width_axis_commutes_with_training(
    architecture: str, agree: Callable[..., None], normal: Callable[..., torch.Tensor]
) -> None:
    """A permutation of coordinates and any orthogonal matrix: training turned vectors gives the trained ones turned."""
    order = torch.tensor([3, 0, 5, 1, 4, 2], device=CPU)
    permutation = torch.eye(6, dtype=torch.float64, device=CPU)[order]
    orthogonal, _ = torch.linalg.qr(normal(6, 6))
    plain = network(CORPUS, 6, architecture)
    start = plain.copy()
    steps(plain, SAMPLINGS["small"], decay=0.01)
    words = torch.arange(7, device=CPU)
    for turn in (permutation, orthogonal):
        turned = replace(start, embedding=start.embedding @ turn, output=start.output @ turn)
        steps(turned, SAMPLINGS["small"], decay=0.01)
        agree(turned.embedding, plain.embedding @ turn, 1e-11)
        agree(turned.output, plain.output @ turn, 1e-11)
        agree(turned.gram(words), plain.gram(words), 1e-11)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("role", [Role.INPUT, Role.OUTPUT])
def test_the_abc_shift_changes_nothing(name: str, role: Role, agree: Callable[..., None]) -> None:
    shape = Word2Vec(7, 12, zero_output=False)
    table = named(name)
    found = []
    for each in (table, table.shifted(role, Fraction(1, 3)), table.shifted(role, Fraction(-2))):
        vectors = initialise(shape, each, [0, 1], base_width=3, device=CPU, dtype=torch.float64)
        steps(vectors, SAMPLINGS["small"], decay=0.01, rate=0.02)
        found.append(vectors)
    for shifted in found[1:]:
        agree(shifted.embedding, found[0].embedding, 1e-11)
        agree(shifted.output, found[0].output, 1e-11)
    wrong = table.replacing(role, c=table.of(role).c + Fraction(1, 3))
    assert rates_of(shape, wrong, 3) != pytest.approx(rates_of(shape, table, 3), rel=0.1)


def test_at_the_base_width_all_tables_are_one_network(agree: Callable[..., None]) -> None:
    """Its usual vectors E/√n0 and √n0 C have entries of variance 1/n0 and share one rate."""
    n0 = 400
    shape = Word2Vec(50, n0, zero_output=False)
    first, *others = (
        initialise(shape, table, [0], base_width=n0, device=CPU, dtype=torch.float64)
        for table in PARAMETRIZATIONS.values()
    )
    usual = first.embedding / n0**0.5, first.output * n0**0.5
    for vectors in usual:
        assert float(vectors.square().mean()) == pytest.approx(1 / n0, rel=0.05)
    # d(E/√n0)/d eta = -rate_E dL/d(E/√n0) / n0, and likewise for √n0 C
    assert first.embedding_rate / n0 == pytest.approx(first.output_rate * n0)
    for other in others:
        agree(other.embedding, first.embedding)
        agree(other.output, first.output)
        assert (other.embedding_rate, other.output_rate) == pytest.approx((first.embedding_rate, first.output_rate))


@pytest.mark.parametrize(
    ("name", "embedding", "output", "rates"),
    [
        ("mup", 0.0, -1.0, (1.0, -1.0)),
        ("ntp", 0.0, -0.5, (0.0, -1.0)),
        ("sp", 0.0, -0.5, (0.0, 0.0)),
        ("sp-over-n", 0.0, -0.5, (-1.0, -1.0)),
        ("mean-field", 0.0, -1.0, (1.0, -1.0)),
    ],
)
def test_sizes_and_rates_have_the_powers_of_the_table(
    name: str, embedding: float, output: float, rates: tuple[float, float]
) -> None:
    """Powers of n written down by hand from the tables, at base width 1 and at base width 5 relative to it."""
    for base in (1, 5):
        found = []
        for width in (5, 80):
            shape = Word2Vec(300, width, zero_output=False)
            vectors = initialise(shape, named(name), [0], base_width=base, device=CPU, dtype=torch.float64)
            sizes = [float(table.square().mean().sqrt()) for table in (vectors.embedding, vectors.output)]
            found.append([*sizes, vectors.embedding_rate, vectors.output_rate])
        for narrow, wide, power in zip(*found, (embedding, output, *rates), strict=True):
            assert wide / narrow == pytest.approx(16.0**power, rel=0.06)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("width", [1, 3, 64])
@pytest.mark.parametrize("table", ["mup", "ntp", "sp-over-n"])
def test_a_touch_shrinks_a_row_by_one_minus_eta_decay_at_every_width(architecture: str, width: int, table: str) -> None:
    """The first step from C = 0 moves E by its decay alone: by touches, whatever the rates."""
    sampling, rate, decay = SAMPLINGS["small"], 0.05, 0.2
    shape = Word2Vec(7, width, architecture)
    vectors = initialise(shape, named(table), [0], device=CPU, dtype=torch.float64)
    before = vectors.embedding.clone()
    block, positions = next(path_of(CORPUS, sampling).epoch(0)), next(slow_epoch(CORPUS, sampling))
    step_(vectors, block, workspace(vectors, sampling), rate=rate, decay=decay)
    counted = torch.zeros(7, dtype=torch.float64, device=CPU)
    for position in positions:
        for word in position.context:
            counted[word] += 1
    assert counted.max() > 1
    expected = before * (1 - rate * decay * counted[:, None])
    torch.testing.assert_close(vectors.embedding, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_split_along_its_width_takes_the_same_steps(architecture: str, agree: Callable[..., None]) -> None:
    """``total`` adds partial logits: two halves, each told the other's part, are the whole network."""
    sampling = SAMPLINGS["small"]
    whole = network(CORPUS, 6, architecture)
    halves = [
        replace(whole, embedding=e.contiguous(), output=c.contiguous())
        for e, c in zip(whole.embedding.chunk(2, 1), whole.output.chunk(2, 1), strict=True)
    ]
    rooms = [workspace(half, sampling) for half in halves]
    for block in path_of(CORPUS, sampling).epoch(0):
        parts = []
        for half, room in zip(halves, rooms, strict=True):
            seen = pairs(half, block, room)
            parts.append(torch.cat([seen.target.flatten(), seen.negative.flatten()]))
        for other, half, room in zip(reversed(parts), halves, rooms, strict=True):
            step_(half, block, room, rate=0.3, decay=0.01, total=lambda part, other=other: part + other)
    steps(whole, sampling, decay=0.01)
    agree(torch.cat([half.embedding for half in halves], 1), whole.embedding, 1e-11)
    agree(torch.cat([half.output for half in halves], 1), whole.output, 1e-11)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_follows_the_schedule_over_epochs(architecture: str, agree: Callable[..., None]) -> None:
    """Two epochs with a rate that falls a block, and not below its floor; then the loss of what was trained."""
    sampling = Sampling(window=2, negatives=3, subsample=0.1, block=8, tile=4, seed=5)
    training = Training(epochs=2, rate=0.2, decay=0.02, floor=0.4)
    vectors = network(CORPUS, 4, architecture)
    ((e, c),) = tables(vectors.copy())
    list(train(vectors, path_of(CORPUS, sampling), training))
    rates = []
    for epoch in range(2):
        blocks = list(slow_epoch(CORPUS, sampling, epoch))
        for number, positions in enumerate(blocks):
            rates.append(0.2 * max(0.4, 1 - (epoch + number / len(blocks)) / 2))
            scaled = (rates[-1] * vectors.embedding_rate, rates[-1] * vectors.output_rate)
            e, c = plain_step(e, c, positions, architecture, rates=scaled, decay=rates[-1] * 0.02)
    assert rates[0] == 0.2
    assert rates[-1] == pytest.approx(0.08)
    agree(vectors.embedding, e, 1e-11)
    agree(vectors.output, c, 1e-11)

    fresh = replace(sampling, seed=6)
    blocks = list(itertools.islice(slow_epoch(CORPUS, fresh), 3))
    count = sum(
        min(1, len(p.context)) if architecture == "cbow" else len(p.context) for positions in blocks for p in positions
    )
    slow = sum(float(plain_loss(e, c, positions, architecture)) for positions in blocks) / count
    assert float(mean_loss(vectors, path_of(CORPUS, fresh), 3)) == pytest.approx(slow, rel=1e-11)


def test_a_seed_is_drawn_alike_whatever_is_drawn_with_it() -> None:
    both = network(CORPUS, 8, seeds=[3, 5])
    assert torch.equal(both.by_seed(both.embedding)[1], network(CORPUS, 8, seeds=[5]).embedding)
    assert not torch.equal(both.by_seed(both.embedding)[0], both.by_seed(both.embedding)[1])
    assert not torch.equal(both.embedding, both.output)


def test_refusals_of_networks_and_training_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'cbov'; did you mean 'cbow'"):
        Word2Vec(10, 4, "cbov")
    with pytest.raises(ValueError, match="2 words and width 1 at least, got 1 and 4"):
        Word2Vec(1, 4)
    with pytest.raises(ValueError, match="got 2 and 0"):
        Word2Vec(2, 0)
    with pytest.raises(ValueError, match=r"a rate above 0.*got 15, 0, 0.001 and 0.0001"):
        Training(rate=0)
    for wrong in ({"epochs": 0}, {"decay": -1.0}, {"floor": 1.5}, {"rate": float("nan")}):
        with pytest.raises(ValueError, match="training needs an epoch"):
            Training(**wrong)
    lonely = corpus_of(["a"], ["b"], ["a"])
    path = path_of(lonely, Sampling(subsample=0, block=4, tile=4))
    with pytest.raises(ValueError, match="corpus 'small' hold no pair"):
        mean_loss(network(lonely, 2), path, 1)
