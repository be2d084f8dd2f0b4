"""Both limits against finite networks on the same path: the error falls as n^(-1/2), and faults stop it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from slow_word2vec import CPU, network, path_of, random_corpus, slow_epoch
from torch import Tensor

from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.kernel_limit import KernelLimit, kernel_limit, kernel_pairs, kernel_step_
from tpbench.networks.word2vec.model import ARCHITECTURES, Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.step import pairs, step_, workspace
from tpbench.networks.word2vec.train import Training, train
from tpbench.parametrization import Parametrization, Role, named

CORPUS = random_corpus(words=20, tokens=400)
WORDS = len(CORPUS.vocabulary)
SAMPLING = Sampling(window=3, negatives=4, subsample=0, block=16, tile=8)
TRAININGS = {name: Training(epochs=1, rate=rate, decay=0.05) for name, rate in (("cbow", 0.3), ("skip-gram", 0.08))}
BLOCKS = 12
WIDTHS = (64, 256, 1024, 4096)
SEEDS = 6
ALL = torch.arange(WORDS, device=CPU)

Start = Callable[[int], Vectors]


def finite(table: str, architecture: str, *, zero: bool, base: int = 1, seeds: Sequence[int] = range(SEEDS)) -> Start:
    def start(width: int) -> Vectors:
        shape = Word2Vec(WORDS, width, architecture, zero)
        return initialise(shape, named(table), seeds, base_width=base, device=CPU, dtype=torch.float64)

    return start


def trained(vectors: Vectors, training: Training | None = None) -> Vectors:
    training = training or TRAININGS[vectors.network.architecture]
    for _ in islice(train(vectors, path_of(CORPUS, SAMPLING), training), BLOCKS):
        pass
    return vectors


def logits(vectors: Vectors) -> Tensor:
    """Return every word's logit given every single word, (seed, given, predicted)."""
    return vectors.by_seed(vectors.embedding) @ vectors.by_seed(vectors.output).mT


def infinite(architecture: str, *, zero: bool) -> Vectors:
    return identity(Word2Vec(WORDS, 1, architecture, zero), named("mup"), device=CPU, dtype=torch.float64)


def rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())


def slope(errors: Sequence[float]) -> float:
    """Return the power of the width with which errors at the widest widths fall."""
    return float(np.polyfit(np.log(WIDTHS[-len(errors) :]), np.log(errors), 1)[0])


def gram_errors(limit: Vectors, start: Start) -> list[float]:
    """Return the RMS distance of trained Gram matrices from the limit's, a width each."""
    return [rms(trained(start(width)).gram(ALL) - limit.gram(ALL)) for width in WIDTHS]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("zero", [True, False])
def test_finite_networks_are_sketches_of_the_identity_network(architecture: str, zero: bool) -> None:
    limit = infinite(architecture, zero=zero)
    start = limit.gram(ALL).clone()
    trained(limit)
    moved = limit.gram(ALL) - start
    moved.diagonal(dim1=1, dim2=2).zero_()
    assert rms(moved) > 0.3, "the limit learns too little to test anything"
    errors = gram_errors(limit, finite("mup", architecture, zero=zero))
    assert abs(slope(errors) + 0.5) < 0.06
    by_logits = [
        rms(logits(trained(finite("mup", architecture, zero=zero)(width))) - logits(limit)) for width in WIDTHS
    ]
    assert abs(slope(by_logits) + 0.5) < 0.06


def test_networks_with_whole_gradients_are_sketches_too() -> None:
    def whole(vectors: Vectors) -> Vectors:
        return replace(vectors, network=replace(vectors.network, whole_gradient=True))

    training = replace(TRAININGS["cbow"], rate=0.05)
    shape = Word2Vec(WORDS, 1, zero_output=False, whole_gradient=True)
    limit = trained(identity(shape, named("mup"), device=CPU, dtype=torch.float64), training).gram(ALL)
    starts = (whole(finite("mup", "cbow", zero=False)(width)) for width in WIDTHS)
    assert abs(slope([rms(trained(start, training).gram(ALL) - limit) for start in starts]) + 0.5) < 0.06


def test_any_gauge_and_base_width_of_mup_has_the_same_limit() -> None:
    limit = trained(infinite("cbow", zero=False))
    for other in (named("mean-field"), named("mup").shifted(Role.OUTPUT, named("mup").output.b)):
        found = identity(Word2Vec(WORDS, 1, zero_output=False), other, device=CPU, dtype=torch.float64)
        torch.testing.assert_close(trained(found).gram(ALL), limit.gram(ALL), rtol=1e-12, atol=1e-12)
    errors = gram_errors(limit, finite("mup", "cbow", zero=False, base=16))
    assert abs(slope(errors) + 0.5) < 0.06


@pytest.mark.parametrize("zero", [True, False])
def test_the_mean_over_networks_is_the_identity_network_up_to_one_over_n(zero: bool) -> None:
    """The product of the errors of two independent halves of the seeds is the squared bias, free of noise."""
    limit = trained(infinite("cbow", zero=zero)).gram(ALL)[0]
    biases = []
    for width in (16, 64):
        halves = []
        for first in (0, 400):
            parts = [
                trained(finite("mup", "cbow", zero=zero, seeds=range(at, at + 100))(width)).gram(ALL)
                for at in range(first, first + 400, 100)
            ]
            halves.append(torch.cat(parts).mean(0) - limit)
        biases.append(float((halves[0] * halves[1]).mean().sqrt()))
    assert biases[0] < 0.3
    assert 2.8 < biases[0] / biases[1] < 5.7


LIMIT_FAULTS: dict[str, Callable[[Vectors], Vectors]] = {
    "identity of the wrong norm": lambda v: replace(v, embedding=v.embedding * 1.2),
    "identity without sqrt(n)": lambda v: replace(v, embedding=v.embedding / v.network.width**0.5),
    "output along the embeddings": lambda v: replace(v, output=v.output.roll(WORDS, 1)),
    "rate of E without n": lambda v: replace(v, embedding_rate=1.0),
    "rate of C without 1/n": lambda v: replace(v, output_rate=1.0),
}


@pytest.mark.parametrize("fault", [*LIMIT_FAULTS, "decay left out"])
def test_faults_of_the_identity_network_are_seen(fault: str) -> None:
    """Plant: the distance to a wrong limit stops falling."""
    right = gram_errors(trained(infinite("cbow", zero=False)), finite("mup", "cbow", zero=False))
    wrong_start = LIMIT_FAULTS.get(fault, lambda v: v)(infinite("cbow", zero=False))
    training = replace(TRAININGS["cbow"], decay=0) if fault == "decay left out" else None
    errors = gram_errors(trained(wrong_start, training), finite("mup", "cbow", zero=False))
    assert not errors[-1] < 2.5 * right[-1]
    assert not slope(errors) < -0.4


@pytest.mark.parametrize("rates", ["embedding_rate", "output_rate"])
def test_networks_with_a_rate_that_forgets_the_width_have_another_limit(rates: str) -> None:
    limit = trained(infinite("cbow", zero=False))

    def start(width: int) -> Vectors:
        vectors = finite("mup", "cbow", zero=False)(width)
        return replace(vectors, **{rates: 1.0 if rates == "embedding_rate" else 1.0 / 64})

    assert not slope(gram_errors(limit, start)) < -0.2


# --- kernel limit ------------------------------------------------------------------------------------------------


def run_kernel(limit: KernelLimit, training: Training | None = None) -> KernelLimit:
    training = training or TRAININGS[limit.network.architecture]
    path = path_of(CORPUS, SAMPLING)
    for number, block in enumerate(islice(path.epoch(0), BLOCKS)):
        kernel_step_(limit, block, rate=training.rate_at(0, number / path.blocks(0)), decay=training.decay)
    return limit


def kernel_errors(
    table: str,
    architecture: str,
    *,
    zero: bool,
    base: int = 1,
    training: Training | None = None,
    fault: Callable[[KernelLimit], KernelLimit] = lambda limit: limit,
) -> list[float]:
    """Return the RMS distance of trained logits from the kernel limit that starts at the networks' own f_0."""
    found = []
    for width in WIDTHS:
        vectors = finite(table, architecture, zero=zero, base=base)(width)
        first = logits(vectors)
        trained(vectors)
        distances = []
        for seed, logit in enumerate(logits(vectors)):
            shape = Word2Vec(WORDS, 1, architecture, zero)
            start = kernel_limit(shape, named(table), device=CPU, dtype=torch.float64, word_logits=first[seed])
            distances.append(logit - run_kernel(fault(start), training).word_logits())
        found.append(rms(torch.stack(distances)))
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("table", ["ntp", "sp-over-n"])
def test_the_kernel_regime_tends_to_the_kernel_limit(architecture: str, zero: bool, table: str) -> None:
    shape = Word2Vec(WORDS, 1, architecture, zero)
    moved = run_kernel(kernel_limit(shape, named(table), device=CPU, dtype=torch.float64)).word_logits()
    errors = kernel_errors(table, architecture, zero=zero)
    assert rms(moved) > 8 * errors[-1], "the limit learns too little to test anything"
    assert abs(slope(errors) + 0.5) < 0.06


@pytest.mark.parametrize("table", ["ntp", "sp-over-n"])
def test_a_base_width_has_the_same_kernel_limit(table: str) -> None:
    """At n0 every table has both terms at 1; what remains of them far above n0 (from n = 64 n0 on) is the limit."""
    errors = kernel_errors(table, "cbow", zero=False, base=4)
    assert abs(slope(errors[1:]) + 0.5) < 0.06


KERNEL_FAULTS: dict[str, Callable[[KernelLimit], KernelLimit]] = {
    "term of C dropped": lambda limit: replace(limit, terms=(0.0, limit.terms[1])),
    "term of E dropped": lambda limit: replace(limit, terms=(limit.terms[0], 0.0)),
    "first logits forgotten": lambda limit: replace(limit, logits=torch.zeros_like(limit.logits)),
    "embeddings of the wrong norm": lambda limit: replace(limit, embedding_size=limit.embedding_size * 1.1),
}


@pytest.mark.parametrize("fault", KERNEL_FAULTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_faults_of_the_kernel_limit_are_seen(architecture: str, fault: str) -> None:
    errors = kernel_errors("ntp", architecture, zero=False, fault=KERNEL_FAULTS[fault])
    assert errors[-1] > 2.5 * kernel_errors("ntp", architecture, zero=False)[-1]
    assert slope(errors) > -0.4


def test_other_faults_of_the_kernel_limit_are_seen() -> None:
    """Decay left out; and under SP with rate eta/n a term of E that is kept although it vanishes."""
    assert slope(kernel_errors("ntp", "cbow", zero=False, training=replace(TRAININGS["cbow"], decay=0))) > -0.4
    kept = kernel_errors("sp-over-n", "cbow", zero=False, fault=lambda limit: replace(limit, terms=(1.0, 1.0)))
    assert slope(kept) > -0.4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_of_the_limit_is_the_derivation_written_as_loops(
    architecture: str, agree: Callable[..., None], normal: Callable[..., Tensor]
) -> None:
    """B_wj moves by -eta (κ_C |E_w|² + κ_E |C_j|²) Σ_p m_pw g_pj; here over positions, pairs and words, no decay."""
    shape, rate = Word2Vec(WORDS, 1, architecture, zero_output=False), 0.1
    limit = kernel_limit(shape, named("ntp"), device=CPU, dtype=torch.float64, word_logits=normal(WORDS, WORDS))
    sizes = 0.5 + torch.rand(2, WORDS, generator=torch.Generator(CPU).manual_seed(1), dtype=torch.float64, device=CPU)
    limit = replace(limit, embedding_size=sizes[0], output_size=sizes[1], terms=(0.7, 1.9))
    slow = limit.word_logits().clone()
    block, positions = next(path_of(CORPUS, SAMPLING).epoch(0)), next(slow_epoch(CORPUS, SAMPLING))
    moved, loss = torch.zeros_like(slow), 0.0
    for position in positions:
        context = position.context
        bags = [context] if architecture == "cbow" and context else [(word,) for word in context]
        for bag in bags:
            for j, label in ((position.target, 1.0), *((j, 0.0) for j in position.others)):
                logit = sum(slow[w, j] for w in bag) / len(bag)
                loss -= float(torch.log(torch.sigmoid(logit if label else -logit)))
                for w in bag:
                    kernel = 0.7 * sizes[0, w] ** 2 + 1.9 * sizes[1, j] ** 2
                    moved[w, j] -= rate * kernel * (torch.sigmoid(logit) - label) / len(bag)
    assert float(kernel_pairs(limit, block).loss()) == pytest.approx(loss, rel=1e-12)
    kernel_step_(limit, block, rate=rate, decay=0.0)
    agree(limit.word_logits(), slow + moved, 1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decay_shrinks_the_limits_vectors_by_touches(architecture: str, agree: Callable[..., None]) -> None:
    """Its sizes are those that rows of a wide network have when only decay acts, which the same steps give."""
    limit = kernel_limit(Word2Vec(WORDS, 1, architecture), named("ntp"), device=CPU, dtype=torch.float64)
    vectors = network(CORPUS, 3, architecture)
    vectors = replace(vectors, embedding_rate=1e-300, output_rate=1e-300)
    before = vectors.copy()
    room = workspace(vectors, SAMPLING)
    for block in islice(path_of(CORPUS, SAMPLING).epoch(0), BLOCKS):
        kernel_step_(limit, block, rate=0.1, decay=0.05)
        # rates that are almost 0 leave the decay, which does not go through them
        step_(vectors, block, room, rate=0.1, decay=0.05)
    for table, old, sizes in (
        (vectors.embedding, before.embedding, limit.embedding_size),
        (vectors.output, before.output, limit.output_size),
    ):
        agree(sizes, (table / old)[:, 0], 1e-12)
        agree((table / old)[:, 2], (table / old)[:, 0], 1e-12)
    words = torch.tensor([3, 1, 3], device=CPU)
    dense = torch.diag(limit.embedding_size**2)[None]
    agree(limit.gram(words), dense[:, words])
    agree(limit.gram(words, words), dense[:, words][:, :, words])
    agree(limit.squared_norms(), dense.diagonal(dim1=1, dim2=2))


def test_the_limits_logits_are_those_of_the_step_at_the_start() -> None:
    """A network whose rows of E are orthogonal of square n, and its kernel limit, have the same first loss."""
    wide = infinite("cbow", zero=False)
    wide = replace(wide, output=wide.output @ torch.roll(torch.eye(2 * WORDS, dtype=torch.float64, device=CPU), 7, 0))
    limit = kernel_limit(wide.network, named("ntp"), device=CPU, dtype=torch.float64, word_logits=logits(wide)[0])
    for block in islice(path_of(CORPUS, SAMPLING).epoch(0), 3):
        ours = pairs(wide, block, workspace(wide, SAMPLING)).loss()
        torch.testing.assert_close(kernel_pairs(limit, block).loss(), ours, rtol=1e-12, atol=0)


def refused(make: Callable[..., object], table: Parametrization, zero: bool) -> str:
    with pytest.raises(ValueError, match=f"parametrization '{table.name}'") as error:
        make(Word2Vec(5, 4, zero_output=zero), table, device=CPU, dtype=torch.float64)
    return str(error.value)


def test_tables_of_the_other_regime_are_refused_with_the_way_on() -> None:
    for name in ("ntp", "sp", "sp-over-n"):
        assert "kernel regime has another limit (kernel_terms)" in refused(identity, named(name), False)
    for name in ("mup", "mean-field", "sp"):
        assert "is not in the kernel regime" in refused(kernel_limit, named(name), False)
    assert "a_2 + b_2 = 1" in refused(identity, named("ntp"), False)
    assert "a_2 + b_2 = 1" not in refused(identity, named("ntp"), True)
    loud = named("mup").replacing(Role.OUTPUT, b=named("ntp").output.b)
    identity(Word2Vec(5, 4), loud, device=CPU, dtype=torch.float64)
    assert "a_2 + b_2 = 1" in refused(identity, loud, False)
    with pytest.raises(ValueError, match="leave whole_gradient False"):
        kernel_limit(Word2Vec(5, 4, whole_gradient=True), named("ntp"), device=CPU, dtype=torch.float64)
