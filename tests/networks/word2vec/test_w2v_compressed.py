"""The compressed limit: the limit in all columns, nearer than random networks in few, its error known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from tpbench.data.corpus import planted
from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec import evaluate
from tpbench.networks.word2vec.compressed import Compressed, compress, started, train_compressed
from tpbench.networks.word2vec.compressed_error import error_bound, first_step_bound, twin
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Moment, Training, train
from tpbench.parametrization import named

Agree = Callable[..., None]
CPU = torch.device("cpu")
F64 = torch.float64
SAMPLING = Sampling(window=5, negatives=10, subsample=1e-2, block=128, tile=32, seed=0)
TRAININGS = {
    "cbow": Training(epochs=2, rate=0.05, decay=1e-2),
    # Every position makes a pair with each word of its context, so that the same rate would overshoot.
    "skip-gram": Training(epochs=2, rate=0.005, decay=1e-2),
}
TRAINING = TRAININGS["cbow"]
RANK = 24


@cache
def corpus() -> Corpus:
    """Return a planted corpus of 200 words."""
    return planted.build(planted.material(planted.Plan(groups=20, filler_words=60), tokens=20_000), top=200)


def path() -> Path:
    return Path(corpus(), SAMPLING, CPU, F64)


def network(architecture: str = "cbow", width: int = 1) -> Word2Vec:
    return Word2Vec(len(corpus().vocabulary), width, architecture)


def words() -> Tensor:
    return torch.arange(len(corpus().vocabulary), device=CPU)


@dataclass(frozen=True)
class Limit:
    """The dense limit after training: its Gram matrix, its words' logits and cosines."""

    gram: Tensor
    logits: Tensor
    cosines: Tensor


def logits(vectors: Vectors) -> Tensor:
    return vectors.embedding @ vectors.output.mT


@cache
def limit(architecture: str = "cbow") -> Limit:
    vectors = identity(network(architecture), named("mup"), device=CPU, dtype=F64)
    for _ in train(vectors, path(), TRAININGS[architecture]):
        pass
    return Limit(vectors.gram(words())[0], logits(vectors), evaluate.cosines(vectors, words())[0])


def trained(compressed: Compressed) -> Compressed:
    for _ in train_compressed(compressed, path(), TRAININGS[compressed.vectors.network.architecture]):
        pass
    return compressed


@cache
def compressed(architecture: str = "cbow", rounds: int = 2) -> Compressed:
    training = TRAININGS[architecture]
    return trained(compress(path(), network(architecture), named("mup"), training, rank=RANK, rounds=rounds))


def error(gram: Tensor, architecture: str = "cbow") -> float:
    return float((gram - limit(architecture).gram).norm())


def random_basis(columns: int, seed: int = 0) -> Tensor:
    source = torch.Generator(device="cpu").manual_seed(seed)
    return torch.linalg.qr(torch.randn((len(words()), columns), generator=source, dtype=F64, device=CPU))[0]


@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
def test_in_all_columns_it_is_the_limit(agree: Agree, architecture: str) -> None:
    whole = trained(started(random_basis(len(words())), network(architecture), named("mup")))
    agree(whole.gram(words())[0], limit(architecture).gram, rtol=1e-10)
    agree(logits(whole.vectors), limit(architecture).logits, rtol=1e-10)


def test_words_that_training_does_not_move_have_the_limit_s_gram_matrix_in_any_columns(agree: Agree) -> None:
    """After one block Ĉ alone has moved, so that the start and its decay are all that there is."""
    few = started(random_basis(3), network(), named("mup"))
    dense = identity(network(), named("mup"), device=CPU, dtype=F64)
    next(train_compressed(few, path(), TRAINING))
    next(train(dense, path(), TRAINING))
    agree(few.gram(words()), dense.gram(words()), rtol=1e-12)
    agree(few.squared_norms(), dense.squared_norms(), rtol=1e-12)
    assert few.kept.min() < 1


@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
def test_it_is_nearer_to_the_limit_than_networks_of_as_many_numbers(architecture: str) -> None:
    ours = compressed(architecture)
    width = math.ceil(ours.bytes / (2 * len(words()) * 8))
    random = initialise(network(architecture, width), named("mup"), range(3), device=CPU, dtype=F64)
    for _ in train(random, path(), TRAININGS[architecture]):
        pass
    theirs = [error(gram, architecture) for gram in random.gram(words())]
    assert error(ours.gram(words())[0], architecture) < 0.5 * min(theirs)
    dense = limit(architecture).logits
    random_logits = random.by_seed(random.embedding) @ random.by_seed(random.output).mT
    assert (logits(ours.vectors) - dense).norm() < 0.7 * min((each - dense).norm() for each in random_logits)


def test_rounds_bring_it_nearer_and_more_columns_too() -> None:
    by_round = [error(compressed(rounds=rounds).gram(words())[0]) for rounds in (0, 2)]
    more = error(trained(compress(path(), network(), named("mup"), TRAINING, rank=3 * RANK)).gram(words())[0])
    assert more < 0.7 * by_round[1] < 0.63 * by_round[0]


def test_its_columns_beat_random_ones_with_the_same_exact_complement() -> None:
    random = trained(started(random_basis(RANK), network(), named("mup")))
    assert error(compressed().gram(words())[0]) < 0.2 * error(random.gram(words())[0])


def test_gram_matrices_are_one_in_parts_and_whole_and_serve_evaluation(agree: Agree) -> None:
    ours = compressed()
    whole, some = ours.gram(words())[0], torch.tensor([3, 150, 0], device=CPU)
    agree(ours.gram(some, some)[0], whole[some][:, some], rtol=1e-12)
    agree(ours.gram(some)[0], whole[some], rtol=1e-12)
    agree(ours.squared_norms()[0], whole.diagonal(), rtol=1e-12)
    assert torch.linalg.eigvalsh(whole).min() > -1e-12
    assert (evaluate.cosines(ours, words())[0] - limit().cosines).abs().max() < 0.1
    assert evaluate.correct(ours, corpus().analogies, CPU).shape == (1, len(corpus().analogies.questions))


def test_training_taken_up_is_training(agree: Agree) -> None:
    start = compress(path(), network(), named("mup"), TRAINING, rank=5, rounds=0)
    first = replace(start, vectors=start.vectors.copy(), kept=start.kept.clone())
    steps = train_compressed(first, path(), TRAINING)
    stop = [next(steps) for _ in range(10)][-1]
    for _ in train_compressed(first, path(), TRAINING, start=stop):
        pass
    whole = trained(start)
    assert stop == Moment(0, 10, stop.blocks)
    agree(first.gram(words()), whole.gram(words()), rtol=1e-14)


# The error -----------------------------------------------------------------------------------------------------


@cache
def twins(architecture: str, rounds: int) -> tuple[Compressed, ...]:
    of = compressed(architecture, rounds)
    return tuple(
        trained(twin(of, network(architecture), named("mup"), columns=3 * RANK, seed=seed)) for seed in range(3)
    )


@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
@pytest.mark.parametrize("rounds", [0, 2])
def test_twins_bound_the_error_and_estimate_it(architecture: str, rounds: int) -> None:
    ours = compressed(architecture, rounds)
    told = error_bound(ours, twins(architecture, rounds), words())
    true = error(ours.gram(words())[0], architecture)
    assert true <= told.bound <= 4 * true
    assert abs(told.estimate - true) < 0.3 * true
    unmoved = torch.diag(ours.kept.square())
    assert told.movement == pytest.approx(float((ours.gram(words())[0] - unmoved).norm()))


def test_an_error_that_is_planted_is_seen() -> None:
    """Outputs that were trained too weakly by a tenth are further off than the bound of the honest ones."""
    ours = compressed()
    weak = replace(ours, vectors=replace(ours.vectors.copy(), embedding=ours.vectors.embedding * 0.9))
    told = error_bound(weak, twins("cbow", 2), words())
    assert error(weak.gram(words())[0]) <= told.bound
    assert told.estimate > 2 * error_bound(ours, twins("cbow", 2), words()).bound


def test_in_all_columns_no_error_is_left() -> None:
    whole = started(random_basis(len(words())), network(), named("mup"))
    sides = [twin(whole, network(), named("mup"), columns=4, seed=seed) for seed in (0, 1)]
    told = error_bound(trained(whole), [trained(each) for each in sides], words())
    assert told.bound < 1e-9 * told.movement


@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
def test_the_bound_of_the_first_step_holds_for_every_logit(architecture: str) -> None:
    for basis in (random_basis(RANK), compressed(architecture).basis):
        few = started(basis, network(architecture), named("mup"))
        bound = first_step_bound(few, path(), TRAININGS[architecture])
        dense = identity(network(architecture), named("mup"), device=CPU, dtype=F64)
        next(train_compressed(few, path(), TRAININGS[architecture]))
        next(train(dense, path(), TRAININGS[architecture]))
        wrong = (logits(few.vectors) - logits(dense)).abs()
        assert (wrong <= bound + 1e-14).all()
        assert (wrong > 0.5 * bound).any()  # it is no loose one


def test_a_first_order_subspace_has_a_smaller_first_defect_than_a_random_one() -> None:
    best, random = (
        first_step_bound(started(basis, network(), named("mup")), path(), TRAINING).norm()
        for basis in (compressed(rounds=0).basis, random_basis(RANK))
    )
    assert best < random


# What is refused -----------------------------------------------------------------------------------------------


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"compressed to 1 … 200 columns in 0 rounds or more; got 201 and 2"):
        compress(path(), network(), named("mup"), TRAINING, rank=201)
    with pytest.raises(ValueError, match=r"got 5 and -1"):
        compress(path(), network(), named("mup"), TRAINING, rank=5, rounds=-1)
    with pytest.raises(ValueError, match=r"this one's is random: set zero_output=True"):
        started(random_basis(3), replace(network(), zero_output=False), named("mup"))
    with pytest.raises(ValueError, match=r"'ntp' is not muP in some gauge"):
        started(random_basis(3), network(), named("ntp"))
    with pytest.raises(ValueError, match=r"the basis has 200 rows and the network 3 words"):
        started(random_basis(3), Word2Vec(3, 1), named("mup"))
    ours = compressed()
    with pytest.raises(ValueError, match=r"at least one column of the complement, got 0"):
        twin(ours, network(), named("mup"), columns=0, seed=0)
    with pytest.raises(ValueError, match=r"takes two of them at least, got 1"):
        error_bound(ours, twins("cbow", 2)[:1], words())
    other = [twin(ours, network(), named("mup"), columns=2, seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"train both on the same path, as far, with the same Training"):
        error_bound(ours, other, words())
