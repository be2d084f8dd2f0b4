"""Train word2vec for epochs and ask after each what its embeddings know, beside what the infinite networks know.

After every recorded epoch (0 is the start): ``accuracy``, the share of analogies answered right; ``loss``, on windows
and negatives that are not trained on; ``accuracy-gap``, how far the accuracy is on the way from muP's limit (0) to the
kernel limit (1). After the last, where the configuration names two groups of words: ``separation`` of the groups in the
plane of their first two principal components, ``separation-gap`` in the same way, and ``map``, the words' places
(``layer`` 1 or 2 is the component, ``index`` the word's place among the groups') of the first seed. The limits' own
numbers are rows without a seed, ``limit-`` and ``kernel-limit-``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpbench.bench.claim import ABSENT, Point, Row
from tpbench.claims.experiments.shared import Need
from tpbench.claims.experiments.shared import found as found_of
from tpbench.claims.experiments.word2vec_setup import Setup, alone, build, setup
from tpbench.networks.word2vec.evaluate import Grams, correct, principal_components, random_plane, separation
from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.train import mean_loss, train
from tpbench.parametrization import PARAMETRIZATIONS

FEATURE_LIMIT = "tpbench.claims.experiments.word2vec_epochs:feature_limit"
KERNEL_LIMIT = "tpbench.claims.experiments.word2vec_epochs:kernel_limit"
Array = NDArray[np.float64]
FEATURES, KERNEL = "mup", "ntp"
"""The tables of the two limits that every network is compared with."""


@dataclass(frozen=True)
class Seen:
    """What is seen of an ensemble after an epoch, a seed: ``accuracy``, ``loss``, and in the end the ``plane`` of the
    groups' words (seed, words, 2) with its ``separation``."""

    accuracy: Array
    loss: Array
    plane: Array | None = None
    separation: Array | None = None


def run(point: Point) -> Iterator[Row]:
    """Yield one number a seed, recorded epoch and quantity, and the limits' own."""
    own = setup(point)
    found = _followed(own, own.initialise(point.seeds))
    limit, kernel = (found_of(need) for need in needs(point))
    for epoch, seen in found.items():
        right = limit[epoch] if epoch > 0 else kernel  # no network knows anything before it is trained
        yield from _rows("accuracy", seen.accuracy, epoch, point.seeds)
        yield Row("limit-accuracy", float(right.accuracy[0]), step=epoch)
        yield Row("kernel-limit-accuracy", float(kernel.accuracy[0]), step=epoch)
        if epoch > 0:  # the loss of all networks at the start is (1 + negatives) log 2, or near it
            yield from _rows("loss", seen.loss, epoch, point.seeds)
            yield Row("limit-loss", float(right.loss[0]), step=epoch)
            _check_resolvable(float(right.accuracy[0]), float(kernel.accuracy[0]), epoch)
            gap = (right.accuracy - seen.accuracy) / (right.accuracy - kernel.accuracy)
            yield from _rows("accuracy-gap", gap, epoch, point.seeds)
        if seen.plane is not None:
            yield from _geometry(seen, right, kernel, epoch, point.seeds)


def _check_resolvable(limit: float, chance: float, epoch: int) -> None:
    """Raise ``ValueError`` where the infinite network answers no more than random vectors do: there is no gap."""
    if limit <= chance:
        raise ValueError(
            f"after epoch {epoch} the infinite network answers {limit:.2%} of the questions, which random "
            "vectors do too, so nothing can be measured by it: train on more tokens, or at another rate"
        )


def _geometry(seen: Seen, right: Seen, kernel: Seen, epoch: int, seeds: tuple[int, ...]) -> Iterator[Row]:
    parts = (("", seen), ("limit-", right), ("kernel-limit-", kernel))
    for prefix, part in parts:
        assert part.plane is not None
        assert part.separation is not None
        seed = seeds[0] if part is seen else ABSENT
        for index, place in enumerate(part.plane[0].tolist()):
            for component, value in enumerate(place, start=1):
                yield Row(f"{prefix}map", value, seed=seed, step=epoch, layer=component, index=index)
    ours, best, chance = (part.separation for _, part in parts)
    assert ours is not None
    assert best is not None
    assert chance is not None
    yield from _rows("separation", ours, epoch, seeds)
    yield Row("limit-separation", float(best[0]), step=epoch)
    yield Row("kernel-limit-separation", float(chance[0]), step=epoch)
    gap = (best - ours) / (best - chance)
    for quantity, values in (("separation-gap", gap), ("separation-excess", -gap), ("separation-lack", gap - 1)):
        yield from _rows(quantity, values, epoch, seeds)


def _rows(quantity: str, values: Array, epoch: int, seeds: tuple[int, ...]) -> Iterator[Row]:
    for seed, value in zip(seeds, values.tolist(), strict=True):
        yield Row(quantity, value, seed=seed, step=epoch)


def needs(point: Point) -> tuple[Need, Need]:
    """Return the computations of what muP's limit and the kernel limit know: the same for every width and seed."""
    limits = ((FEATURE_LIMIT, FEATURES), (KERNEL_LIMIT, KERNEL))
    feature, kernel = (
        Need(function, (alone(point.config, PARAMETRIZATIONS[table].as_config()),)) for function, table in limits
    )
    return feature, kernel


def feature_limit(text: str) -> Mapping[int, Seen]:
    """Return what muP's limit knows after the recorded epochs."""
    run = build(json.loads(text), 1)
    return _followed(run, run.identity())


def kernel_limit(text: str) -> Seen:
    """Return what embeddings know that never move: the same after every epoch.

    Their cosines are noise of size n^(-1/2), so that every word but the three asked with is equally likely to be the
    nearest. Their principal components are those of very wide Gaussian vectors, and the separation is a mean over such
    planes.
    """
    c = json.loads(text)
    run = build(c, 1)
    accuracy, nothing = np.array([1 / (len(run.corpus.vocabulary) - 3)]), np.zeros(1)
    sizes = run.group_sizes
    if sizes is None:
        return Seen(accuracy, nothing)
    generator = np.random.default_rng(c["path_seed"])
    planes = np.stack([random_plane(len(run.group_words), generator) for _ in range(c["planes"])])
    scores = [separation(plane, sizes) for plane in planes]
    return Seen(accuracy, nothing, planes[:1], np.array([np.mean(scores)]))


def _followed(run: Setup, networks: Vectors) -> Mapping[int, Seen]:
    """Train networks and return what is seen after the recorded epochs."""
    last = max(run.record)
    found = {0: _seen(run, networks, last=False)} if 0 in run.record else {}
    for moment in train(networks, run.path, run.training):
        done = moment.epoch + 1
        if moment.ends_epoch and done in run.record:
            found[done] = _seen(run, networks, last=done == last)
        if moment.ends_epoch and done == last:
            return found
    raise ValueError(f"the training has {run.training.epochs} epochs, fewer than the {last} to be recorded")


def _seen(run: Setup, networks: Vectors, *, last: bool) -> Seen:
    accuracy = _accuracy(run, networks)
    loss = mean_loss(networks, run.test, run.test_blocks).numpy()
    sizes = run.group_sizes
    if not last or sizes is None:
        return Seen(accuracy, loss)
    plane = principal_components(networks, run.group_words)
    return Seen(accuracy, loss, plane, np.array([_separation(points, sizes) for points in plane]))


def _separation(points: Array, sizes: tuple[int, int]) -> float:
    """Return the groups' separation; of a network that diverged there is none."""
    return separation(points, sizes) if np.isfinite(points).all() else float("nan")


def _accuracy(run: Setup, embeddings: Grams) -> Array:
    right: Array = correct(embeddings, run.corpus.analogies, run.device).double().mean(dim=1).cpu().numpy()
    return right
