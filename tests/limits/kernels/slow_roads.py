"""Kernel recursions a second time: from the output down, one number at a time, in plain loops.

Every function takes an architecture and two examples and returns (nngp, ntk) of the two. ``z`` are pre-activations,
``feature`` what comes after phi; a place is (which of the two examples, position), and each function is asked for one
layer and two places. Nothing is shared with ``tpbench.limits.kernels`` but the activation's duals.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import product
from math import exp, prod, sqrt

import torch

from tpbench.architecture import Attention, Convolution, LayerNormalised, Perceptron, Recurrent, Residual
from tpbench.limits.gaussian import activation

Pair = tuple[float, float]


def lin(of, pair: Pair) -> Pair:
    nngp = of.sigma_w**2 * pair[0] + of.sigma_b**2
    return nngp, nngp + of.sigma_w**2 * pair[1]


def after(of, z: Callable[..., Pair], p, q) -> Pair:
    """phi of pre-activations z(place, place)."""
    phi = activation(of.activation)
    numbers = [torch.tensor(z(*places)[0], dtype=torch.float64) for places in ((p, p), (p, q), (q, q))]
    return float(phi.dual(*numbers)), z(p, q)[1] * float(phi.dual_derivative(*numbers))


def given(examples, p, q) -> Pair:
    (a, t), (b, s) = p, q
    x, y = examples[a][t], examples[b][s]
    return sum(float(u) * float(v) for u, v in zip(x, y, strict=True)) / len(x), 0.0


def mean(pairs: list[Pair]) -> Pair:
    return sum(k for k, _ in pairs) / len(pairs), sum(theta for _, theta in pairs) / len(pairs)


def perceptron(of: Perceptron, x, y) -> Pair:
    def z(layer, p, q):
        if layer == 1:
            return lin(of, given(([x], [y]), p, q))
        return lin(of, after(of, partial(z, layer - 1), p, q))

    return z(of.depth + 1, (0, 0), (1, 0))


def residual(of: Residual, x, y) -> Pair:
    @cache
    def z(layer, p, q):
        if layer == 1:
            return lin(of, given(([x], [y]), p, q))
        skip, branch = z(layer - 1, p, q), lin(of, after(of, partial(z, layer - 1), p, q))
        return skip[0] + of.branch**2 * branch[0], skip[1] + of.branch**2 * branch[1]

    return lin(of, after(of, partial(z, of.depth), (0, 0), (1, 0)))


def layer_normalised(of: LayerNormalised, x, y) -> Pair:
    @cache
    def z(layer, p, q):
        if layer == 1:
            return lin(of, given(([x], [y]), p, q))
        return lin(of, after(of, partial(scaled, layer - 1), p, q))

    def scaled(layer, p, q):
        by = sqrt(z(layer, p, p)[0]) * sqrt(z(layer, q, q)[0])
        return z(layer, p, q)[0] / by, z(layer, p, q)[1] / by

    return z(of.depth + 1, (0, 0), (1, 0))


def recurrent(of: Recurrent, x, y) -> Pair:
    examples = (x, y)

    @cache
    def z(p, q):
        (a, t), (b, s) = p, q
        if not of.tied and t != s:
            return 0.0, 0.0
        driven = lin(of, given(examples, p, q))
        if t == 0 or s == 0:
            return driven
        nngp, ntk = after(of, z, (a, t - 1), (b, s - 1))
        return driven[0] + of.sigma_w**2 * nngp, driven[1] + of.sigma_w**2 * (nngp + ntk)

    times = {"last": [len(x) - 1], "mean": list(range(len(x)))}[of.readout]
    return lin(of, mean([after(of, z, (0, t), (1, s)) for t, s in product(times, times)]))


def convolution(of: Convolution, x, y) -> Pair:
    grid = x.shape[:-1]
    examples = (x, y)
    window = list(product(*(range(-(size // 2), size // 2 + 1) for size in of.filter)))

    def moved(place, offset):
        example, position = place
        there = tuple(t + o for t, o in zip(position, offset, strict=True))
        if of.padding == "circular":
            return example, tuple(t % size for t, size in zip(there, grid, strict=True))
        return (example, there) if all(0 <= t < size for t, size in zip(there, grid, strict=True)) else None

    @cache
    def z(layer, p, q):
        nngp = ntk = 0.0
        for offset in window:
            there = moved(p, offset), moved(q, offset)
            if None not in there:
                found = given(examples, *there) if layer == 1 else after(of, partial(z, layer - 1), *there)
                nngp, ntk = nngp + found[0] / prod(of.filter), ntk + found[1] / prod(of.filter)
        return lin(of, (nngp, ntk))

    places = list(product(*(range(size) for size in grid)))
    met = [(t, t) for t in places] if of.readout == "flatten" else list(product(places, places))
    return lin(of, mean([after(of, partial(z, of.depth), (0, t), (1, s)) for t, s in met]))


def attention(of: Attention, x, y) -> Pair:
    examples, length = (x, y), len(x)

    @cache
    def value(block, p, q):
        return lin(of, after(of, partial(z, block - 1), p, q))

    @cache
    def weights(block, example, t):
        if not of.tied:
            return [1 / length] * length
        powers = [exp(value(block, (example, t), (example, u))[0]) for u in range(length)]
        return [power / sum(powers) for power in powers]

    @cache
    def z(block, p, q):
        if block == 0:
            return lin(of, given(examples, p, q))
        skip, seen = z(block - 1, p, q), [0.0, 0.0]
        for u, v in product(range(length), repeat=2):
            share = weights(block, *p)[u] * weights(block, *q)[v]
            for which, number in enumerate(value(block, (p[0], u), (q[0], v))):
                seen[which] += share * number
        out = lin(of, (seen[0], seen[1]))
        return skip[0] + out[0], skip[1] + out[1]

    places = list(product(range(length), repeat=2))
    return lin(of, mean([after(of, partial(z, of.depth), (0, t), (1, s)) for t, s in places]))


SLOW = {
    Perceptron: perceptron,
    Residual: residual,
    LayerNormalised: layer_normalised,
    Recurrent: recurrent,
    Convolution: convolution,
    Attention: attention,
}


def slow_kernels(architecture, x1, x2):
    """(nngp, ntk), both (N1, N2), pair by pair."""
    pairs = [[SLOW[type(architecture)](architecture, x, y) for y in x2] for x in x1]
    both = torch.tensor(pairs, dtype=torch.float64)
    return both[..., 0], both[..., 1]
