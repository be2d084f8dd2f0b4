"""Train word2vec on one path beside its limit, and measure how far apart they are after the recorded blocks.

``gram-error`` is the root mean square over pairs of words of E E^T/n minus its limit; ``output-error`` that of the
logits of all words at some contexts; ``loss-error`` that of what single logits add to the loss on windows and negatives
that are not trained on.
``rival-share`` is the part of the logits' error along (rival - limit): the rival of a network that learns features is
NTP's kernel limit, and the rival of a kernel machine is muP's limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.shared import Need
from tpbench.claims.experiments.shared import found as found_of
from tpbench.claims.experiments.word2vec_setup import Setup, alone, build, rows_per_seed, setup
from tpbench.networks.word2vec.kernel_limit import kernel_pairs
from tpbench.networks.word2vec.kernel_train import kernel_train
from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.sampling import Block
from tpbench.networks.word2vec.step import pairs, workspace
from tpbench.networks.word2vec.train import train
from tpbench.parametrization import PARAMETRIZATIONS, from_config
from tpbench.parametrization.word2vec import learns_features

FEATURE_LIMIT = "tpbench.claims.experiments.word2vec_limit:feature_limit"
KERNEL_LIMIT = "tpbench.claims.experiments.word2vec_limit:kernel_limit"
RIVALS: Mapping[bool, str] = {True: "ntp", False: "mup"}
"""Whether the networks learn features at infinite width -> the table whose limit is the rival's."""


@dataclass(frozen=True)
class Reading:
    """What is seen at one moment, with a seed axis first: ``gram`` of all words, ``logits`` of all words at some
    contexts, and ``loss`` by its terms, one a logit of the test blocks."""

    gram: Tensor
    logits: Tensor
    loss: Tensor


Readings = Mapping[int, Reading]
"""Blocks done -> what was seen then."""


def run(point: Point) -> Iterator[Row]:
    """Yield one number a seed, recorded block and quantity."""
    run, c = setup(point), point.config
    networks = run.initialise(point.seeds)
    first = _pairwise(networks)
    moments = train(networks, run.path, run.training)
    found = _followed(moments, run, lambda: _read_networks(run, networks))
    right, wrong = (_limit(c, table, first) for table in _tables(c))
    if c["limit"] == "rival":
        right, wrong = wrong, right
    for step, seen in found.items():
        away = seen.logits - right[step].logits
        sizes = {
            "gram-error": _rms(seen.gram - right[step].gram),
            "output-error": _rms(away),
            "loss-error": _rms(seen.loss - right[step].loss),
            "rival-share": _share(away, wrong[step].logits - right[step].logits),
        }
        for quantity, values in sizes.items():
            for seed, value in rows_per_seed(point.seeds, values):
                yield Row(quantity, value, seed=seed, step=step)


def needs(point: Point) -> tuple[Need, ...]:
    """Return the limits, the networks' own and the rival's, that are the same for every width and seed."""
    limits = (_limit_need(point.config, table) for table in _tables(point.config))
    return tuple(need for need in limits if need is not None)


def _tables(c: Config) -> tuple[Config, Config]:
    """Return the abc tables of the networks' limit and of the rival's."""
    own = from_config(c["limit_parametrization"] or c["parametrization"])
    return own.as_config(), PARAMETRIZATIONS[RIVALS[_learns(c, own.as_config())]].as_config()


def _learns(c: Config, table: Config) -> bool:
    return learns_features(from_config(table), zero_output=c["zero_output"])


def _limit_need(c: Config, table: Config) -> Need | None:
    """Return the computation of a table's limit; None where every seed has a limit of its own.

    In the kernel regime logits that start at random stay so at infinite width.
    """
    kernel = not _learns(c, table)
    if kernel and not c["zero_output"]:
        return None
    return Need(KERNEL_LIMIT if kernel else FEATURE_LIMIT, (alone(c, table),))


def _limit(c: Config, table: Config, first: Tensor) -> Readings:
    """Return the limit of a table along the configuration's path, given the networks' first logits of word pairs."""
    need = _limit_need(c, table)
    if need is not None:
        readings: Readings = found_of(need)
        return readings
    run = build(json.loads(alone(c, table)), 1)
    each = [_followed_kernel(run, logits) for logits in first]
    return {step: _stacked([readings[step] for readings in each]) for step in each[0]}


def feature_limit(text: str) -> Readings:
    """Follow the identity network of a configuration."""
    run = build(json.loads(text), 1)
    network = run.identity()
    return _followed(train(network, run.path, run.training), run, lambda: _read_networks(run, network))


def kernel_limit(text: str) -> Readings:
    """Follow the kernel limit of a configuration, from logits that are zero."""
    return _followed_kernel(build(json.loads(text), 1), None)


def _followed_kernel(run: Setup, first: Tensor | None) -> Readings:
    limit = run.kernel_limit(first)
    contexts, _ = run.positions(run.test)

    def seen() -> Reading:
        loss = torch.cat([kernel_pairs(limit, block).terms() for block in _test(run)], dim=1)
        return Reading(limit.gram(run.words), (contexts @ limit.word_logits())[None], loss)

    return _followed(kernel_train(limit, run.path, run.training), run, seen)


def _followed(moments: Iterable[object], run: Setup, seen: Callable[[], Reading]) -> Readings:
    """Go through a training and return what is seen after the recorded blocks."""
    found = {0: seen()} if 0 in run.record else {}
    last = max(run.record)
    for step, _ in enumerate(moments, start=1):
        if step in run.record:
            found[step] = seen()
        if step == last:
            return found
    raise ValueError(f"the training has fewer than the {last} blocks to be recorded: ask for more epochs or tokens")


def _read_networks(run: Setup, networks: Vectors) -> Reading:
    contexts, _ = run.positions(run.test)
    hidden = networks.by_seed(contexts @ networks.embedding)
    room = workspace(networks, run.test.sampling)
    loss = torch.cat([pairs(networks, block, room).terms() for block in _test(run)], dim=1)
    return Reading(networks.gram(run.words), hidden @ networks.by_seed(networks.output).mT, loss)


def _test(run: Setup) -> Iterator[Block]:
    return islice(run.test.epoch(0), run.test_blocks)


def _pairwise(networks: Vectors) -> Tensor:
    """Return the logit of every word given every single word, (seed, given, predicted)."""
    return networks.by_seed(networks.embedding) @ networks.by_seed(networks.output).mT


def _stacked(readings: list[Reading]) -> Reading:
    return Reading(*(torch.cat([getattr(each, part) for each in readings]) for part in ("gram", "logits", "loss")))


def _rms(values: Tensor) -> Tensor:
    return values.to(torch.float64).square().flatten(1).mean(dim=1).sqrt()


def _share(away: Tensor, direction: Tensor) -> Tensor:
    """Return the component of ``away`` along ``direction``, as a share of it, (seed,)."""
    away, direction = (values.to(torch.float64).flatten(1) for values in (away, direction))
    return (away * direction).sum(1) / direction.square().sum(1)
