"""What a run's configuration says: every key of every run, with its default. Imports no torch.

A configuration spells out every key of ``DEFAULTS``, so that a run's file says all that its numbers depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Config, Sweep
from tpbench.parametrization import RULES, Parametrization, Role, Rule, did_you_mean, from_config

DEFAULTS: Mapping[str, Any] = {
    "dataset": "digits",
    "examples": 16,  # all examples used; the first ``train`` of them are trained on
    "train": 16,
    "data_seed": 0,
    "outputs": 1,
    "depth": 2,  # hidden layers
    "activation": "relu",
    "bias": False,
    "sigma_w": 1.0,
    "sigma_b": 1.0,
    "zero_output": False,  # the read-out starts at 0
    "base_width": 1,  # the width at which all parametrizations are one network
    "optimizer": "sgd",  # or "sign", "adam", "spectral"
    "learning_rate": 1.0,
    "momentum": 0.0,  # of SGD alone
    "weight_decay": 0.0,
    "batch": None,  # None is the full data
    "loss": "mse",
    "centred": False,  # train f - f_0 instead of f
    "steps": 1,
    "record": [0, 1],  # the steps after which measurements are taken
    "weights": "dense",  # or "lazy": the same networks, whose width × width matrices are never built
    "dtype": "float32",
    "device": "cpu",
}
EXPERIMENT_KEYS = frozenset(
    {
        "parametrization",
        "shares",
        "rival_shares",
        "probes",
        "edge_rates",  # learning rates in units of the largest stable one of the limit
        "limit",
        "rival",
        "limit_parametrization",  # the limit's table, where it is another than the networks'
        "limit_error",  # the largest standard error that the limit may have
        "limit_points",
        "limit_replicates",
        "waste",
        "term_weights",  # of Taylor models: what multiplies the term of each order, and their learning rate
        "rate_of_models",
        "shift",  # role -> θ, how a network's twin is shifted; how often θ counts in c
        "gauge",
        "betas",  # the keys of Adam alone, which has torch's defaults without them
        "epsilon",
        "epsilon_powers",  # role -> e as for an abc table: epsilon n^(-e)
        "decoupled",
        "decay_powers",  # role -> d: weight decay n^(-d)
        "widest",  # planted errors: the most neurons of a layer, a random factor of every network, repeated neurons
        "scatter",
        "twins",
    }
)
"""Keys that one experiment or one optimizer alone reads."""


def config(**changes: Any) -> dict[str, Any]:
    """Return a full configuration: the defaults with changes; ``ValueError`` for a key that nobody reads."""
    known = [*DEFAULTS, *EXPERIMENT_KEYS]
    for key in changes:
        if key not in known:
            raise ValueError(f"unknown configuration key {key!r}{did_you_mean(key, dict.fromkeys(known))}")
    return {**DEFAULTS, **changes}


def table_of(c: Config) -> Parametrization:
    """Return the abc table of a configuration."""
    return from_config(c["parametrization"])


def rule_of(c: Config) -> Rule:
    """Return how a configuration trains, as theory sees it.

    An epsilon that the configuration names is never negligible: however small, the gradients of wide networks fall
    below it. Without one it counts as negligible, as torch's 1e-8 is at the widths that are trained.
    """
    return replace(
        RULES[c["optimizer"]],
        zero_output=c["zero_output"],
        epsilon=_powers(c.get("epsilon_powers")) if "epsilon" in c else None,
        decay=None if c.get("decay_powers") is None else _powers(c["decay_powers"]),
    )


def _powers(section: Config | None) -> dict[Role, Fraction]:
    """Return the power of every role; one that is not named has 0."""
    return {role: Fraction(str((section or {}).get(role.value, 0))) for role in Role}


def replacing_table(change: Callable[[Parametrization, Config], Parametrization]) -> Callable[[Config], Config]:
    """Return a change of configurations that replaces the abc table and keeps its name: a planted fault."""
    return lambda c: {**c, "parametrization": change(table_of(c), c).as_config()}


def scaled_roles(depth: int) -> tuple[Role, ...]:
    """Return the roles of the hidden layers of a network: input, and hidden when there is more than one layer."""
    return (Role.INPUT,) if depth == 1 else (Role.INPUT, Role.HIDDEN)


def sweep(
    parametrizations: tuple[str, ...],
    sizes: Mapping[int, int],
    settings: Mapping[str, Any],
    *,
    lazy: Mapping[int, int] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sweep:
    """Return a sweep from tables width -> number of seeds, of dense networks and of lazy ones.

    ``variants`` are changes of the settings by name; each is swept.
    """
    settled = config(**settings)
    return Sweep(
        parametrizations,
        tuple(sizes),
        tuple(sizes.values()),
        settled,
        lazy=lazy or {},
        variants={name: _checked(changes) for name, changes in (variants or {"": {}}).items()},
    )


def _checked(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    config(**changes)
    return changes


def fit_depth(c: Config) -> Config:
    """Return the configuration with one hidden layer where its table knows no more."""
    if "hidden" in c["parametrization"] or "depth" not in c:
        return c
    shares = {key: [*c[key][:1], *c[key][-1:]] for key in ("shares", "rival_shares") if key in c}
    return {**c, "depth": 1, **shares}
