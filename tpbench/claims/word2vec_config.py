"""What a word2vec run's configuration says: every key with its default. Imports no torch.

As for the multilayer perceptrons (``tpbench.claims.config``), a configuration spells out every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Config, Sweep
from tpbench.parametrization import Parametrization, did_you_mean, from_config, violations
from tpbench.parametrization.word2vec import embedding_movement, kernel_terms, learns_features

DEFAULTS: Mapping[str, Any] = {
    "corpus": "planted",
    "plan": {},  # sizes and shares of the planted corpus's law, where they are not the usual ones
    "tokens": None,  # take the first so many; None takes all
    "min_count": None,  # the corpus's own
    "top": None,  # most frequent words
    "asked": False,  # and all words that questions and groups ask for
    "architecture": "cbow",
    "zero_output": True,
    "base_width": 1,  # the width at which all parametrizations are one network
    "limit": "own",  # or "rival": a planted fault
    "limit_parametrization": None,  # the limit's table, where it is another than the networks': a planted fault
    "window": 8,
    "negatives": 25,
    "subsample": 1e-4,
    "block": 256,  # positions whose gradients are taken together
    "tile": 32,  # positions that share their negatives: quicker than the usual 16, and alike for networks and limits
    "path_seed": 0,
    "epochs": 15,
    "rate": 0.05,
    "decay": 1e-3,
    "record": [0, 1],  # the blocks, or the epochs, after which measurements are taken
    "test_blocks": 16,  # blocks of the path whose loss is measured and which is not trained on
    "groups": [],  # the two groups of words whose separation is measured
    "planes": 64,  # random planes that a kernel limit's separation is the mean of
    "dtype": "float32",
    "device": "cpu",
}


def config(**changes: Any) -> dict[str, Any]:
    """Return a full configuration: the defaults with changes; ``ValueError`` for a key that nobody reads."""
    for key in changes:
        if key not in DEFAULTS:
            raise ValueError(f"unknown configuration key {key!r}{did_you_mean(key, DEFAULTS)}")
    return {**DEFAULTS, **changes}


SMALL_PLAN = {"groups": 16, "filler_words": 100}
"""A planted corpus of 244 words, whose entities come often enough that 40,000 tokens teach the analogies."""


def sweep(
    parametrizations: tuple[str, ...],
    sizes: Mapping[int, int],
    settings: Mapping[str, Any],
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    block: int = 8,
) -> Sweep:
    """Return a sweep from a table width -> number of seeds, a run holding ``block`` of them at most."""
    for changes in (variants or {}).values():
        config(**changes)
    return Sweep(
        parametrizations,
        tuple(sizes),
        tuple(sizes.values()),
        config(**settings),
        block=block,
        variants=variants or {"": {}},
    )


def only(sweep: Sweep, parametrizations: tuple[str, ...], seeds: Mapping[int, int] | None = None) -> Sweep:
    """Return a sweep over some of its parametrizations, with another number of seeds at some widths.

    What remains are the same runs, which claims then share, where numbers of seeds are multiples of the block.
    """
    sizes = {**dict(zip(sweep.widths, sweep.seeds, strict=True)), **(seeds or {})}
    return replace(sweep, parametrizations=parametrizations, widths=tuple(sizes), seeds=tuple(sizes.values()))


def labels(c: Config) -> dict[str, tuple[str, ...]]:
    """Return the words of a configuration's groups, group by group, as its rows number them; none without groups.

    Raises ``ValueError`` when the corpus is not there.
    """
    if not c.get("groups"):
        return {}
    from tpbench.claims.experiments.word2vec_corpus import load

    text = load(c)
    return {group: tuple(text.vocabulary[word] for word in text.groups[group]) for group in c["groups"]}


def stable_table(c: Config) -> Parametrization:
    """Return the table of a configuration; ``ValueError`` when the theory says that it is unstable."""
    table = from_config(c["parametrization"])
    broken = violations(table, 1)
    if broken:
        raise ValueError(f"{table.name!r} is not stable: {'; '.join(broken)}")
    return table


def features_of(c: Config) -> tuple[Parametrization, bool]:
    """Return the table of a configuration and whether its networks learn features at infinite width.

    Raises ``ValueError`` when it has neither limit, or embeddings move by more than n^(-1/2) on their way to the
    kernel limit, so that its errors have another exponent than those of a random sketch.
    """
    table, zero = stable_table(c), c["zero_output"]
    if learns_features(table, zero_output=zero):
        return table, True
    kernel_terms(table, zero_output=zero)
    moves = embedding_movement(table, zero_output=zero)
    if moves < Fraction(1, 2):
        raise ValueError(f"{table.name!r} nears its kernel limit like n^{-moves}, more slowly than n^(-1/2)")
    return table, False
