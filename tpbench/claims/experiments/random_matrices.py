"""Moments and eigenvalues of random matrices: through programs, and of the matrices themselves.

``program-moment`` is a moment by a program (``matrix_programs``) less its limit, which ``limit`` computes exactly;
``relative-moment-ORDER`` is it over the limit. ``trace-moment`` is the normalised trace of the same power of a matrix
that is built and diagonalised, less the same limit. The mean over x of the former is the latter, and x makes it scatter
by n^(-1/2). ``scale-free-moment`` is the second moment where the first is given.

A matrix has the entries that the table says: n^(-(a+b)) w for its hidden role, so their variance is ``scale``/n.
Eigenvalues are computed for one seed in ``spectral_every``. Other keys of a configuration: ``program_weights``, dense
or lazy; ``spectra``, false for programs alone; and the planted ``excess``, ``fresh_transpose`` and ``correlation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.config import table_of
from tpbench.claims.experiments import matrix_programs
from tpbench.claims.experiments.matrix_programs import MEAN
from tpbench.claims.experiments.setup import DTYPES
from tpbench.limits import Array, spectra
from tpbench.parametrization import Role
from tpbench.programs import Program, limit, sample
from tpbench.weights.gaussian import standard_normal

STEPS = 3
COVARIANCE_STEPS = 2
JUDGED = 2
"""How many moments have their rates judged, the first ones; shares of rivals are taken of all. Higher moments are off
by more at the narrow widths where many can be drawn: m_6 = 5 + 22/n + 52/n² + 41/n³."""
ENTRIES_AT_ONCE = 2**22


def run_semicircle(point: Point) -> Iterator[Row]:
    """Yield ``program-moment`` and ``trace-moment`` of A = W + Wᵀ, m_2 and m_4, and the shares that rivals have in

    m_2, m_4 and m_6 of the program: ``rival-share`` of Gaussian moments, ``independent-share`` of those of a W
    independent of Wᵀ. Of the eigenvalues the ``spectral-distance``, the mean distance from the semicircle's quantiles,
    and the ``largest-eigenvalue`` less its edge 2. Those of an A that a fault made asymmetric are its symmetric part's.
    """
    c, fresh = point.config, bool(point.config["fresh_transpose"])
    true, independent = (semicircle_limit(transposes) for transposes in ("dependent", "independent"))
    gaussian = np.array([float(m) for m in spectra.gaussian_moments(2 * STEPS)[1::2]])
    program = matrix_programs.semicircle(STEPS, scale(c, point.width), fresh=fresh)
    for seeds in parts(point, point.width**2):
        errors = sampled(program, point, seeds) - true
        yield from rows("program-moment", errors[:, :JUDGED], seeds)
        yield from relative(errors, true, (2, 4, 6), seeds)
        yield from rows("rival-share", share(errors, gaussian - true), seeds)
        yield from rows("independent-share", share(errors, independent - true), seeds)
    if not c["spectra"]:
        return
    levels = spectra.quantiles(spectra.semicircle_distribution, -2.0, 2.0, point.width)
    for seeds in parts(point, point.width**2, every=c["spectral_every"]):
        found = eigenvalues(symmetric(point, "W", seeds, fresh=fresh))
        yield from rows("trace-moment", _powers(found, (2, 4), point.width) - true[:JUDGED], seeds)
        yield from rows("spectral-distance", np.abs(found - levels).mean(axis=1, keepdims=True), seeds)
        yield from rows("largest-eigenvalue", found[:, -1:] - 2, seeds)


def run_covariance(point: Point) -> Iterator[Row]:
    """Yield the same of X Xᵀ, X n × m with m = n/``ratio``: m_1 and m_2, and in m_1 … m_4 of the program the share of

    an X independent of Xᵀ, ``rival-share``. The ``largest-eigenvalue`` and the ``smallest-eigenvalue``, less their
    edges, and the ``spectral-distance`` are of the min(n, m) eigenvalues that are not 0.
    """
    c, n = point.config, point.width
    ratio, fresh = Fraction(c["ratio"]), bool(point.config["fresh_transpose"])
    true, independent = (covariance_limit(ratio, transposes) for transposes in ("dependent", "independent"))
    program = matrix_programs.covariance(COVARIANCE_STEPS, ratio, scale(c, n), fresh=fresh)
    columns = int(n / ratio)
    for seeds in parts(point, n * columns):
        errors = sampled(program, point, seeds) - true
        yield from rows("program-moment", errors[:, :JUDGED], seeds)
        yield from relative(errors, true, (1, 2, 3, 4), seeds)
        yield from rows("rival-share", share(errors, independent - true), seeds)
    count, (low, high) = min(n, columns), spectra.marchenko_pastur_edges(float(ratio))
    law = partial(spectra.marchenko_pastur_distribution, ratio=float(ratio))
    levels = spectra.quantiles(law, low, high, count, below=max(0.0, 1 - float(1 / ratio)))
    for seeds in parts(point, n * max(n, columns), every=c["spectral_every"]):
        x = entries(point, "X", (n, columns), seeds)
        y = entries(point, "X2", (n, columns), seeds) if fresh else x
        found = eigenvalues(x @ y.mT)[:, -count:]
        errors = _powers(found, (1, 2), n) - true[:JUDGED]
        yield from rows("trace-moment", errors, seeds)
        yield from rows("scale-free-moment", scale_free(errors, true), seeds)
        yield from rows("spectral-distance", np.abs(found - levels).mean(axis=1, keepdims=True), seeds)
        yield from rows("largest-eigenvalue", found[:, -1:] - high, seeds)
        yield from rows("smallest-eigenvalue", found[:, :1] - low, seeds)


def run_freeness(point: Point) -> Iterator[Row]:
    """Yield mixed moments of A, B and D less those of free ones, in units of how far those of commuting ones are.

    They are, in order, those of ``matrix_programs.freeness``. ``trace-moment`` is less what freeness says of the d that
    was drawn, whose own moments scatter by n^(-1/2).
    """
    c, n = point.config, point.width
    program = matrix_programs.freeness(scale(c, n), correlation=c["correlation"])
    true = freeness_limit()
    away = classical_mixed() - true
    for seeds in parts(point, 2 * n**2):
        errors = (sampled(program, point, seeds) - true) / away
        yield from rows("program-moment", errors, seeds)
        yield from rows("rival-share", errors.mean(axis=1, keepdims=True), seeds)
    for seeds in parts(point, 4 * n**2, every=c["spectral_every"]):
        a, fresh = (symmetric(point, name, seeds) for name in ("W", "V"))
        b = c["correlation"] * a + (1 - c["correlation"] ** 2) ** 0.5 * fresh
        d = _normal(point, "d", (n,), seeds) + float(MEAN)
        powers = [(d**k).mean(dim=1).cpu().numpy() for k in range(1, 2 * STEPS + 1)]
        yield from rows("trace-moment", (mixed_traces(a, b, d) - free_mixed(powers)) / away, seeds)


def mixed_traces(a: Tensor, b: Tensor, d: Tensor) -> Array:
    """Return tr ABAB/n, tr ADAD/n, tr (A+B)⁴/n, tr (A+D)⁴/n and tr (A+D)⁶/n, (seed, 5), by matrix products."""
    n, ab, ad = a.shape[-1], a @ b, a * d[:, None, :]
    plain, mixed = (a + b) @ (a + b), (a + torch.diag_embed(d)) @ (a + torch.diag_embed(d))
    found = [(ab * ab.mT), (ad * ad.mT), plain**2, mixed**2, (mixed @ mixed) * mixed]
    return np.stack([each.sum(dim=(1, 2)).cpu().numpy() / n for each in found], axis=1)


def free_mixed(powers: Sequence[Array]) -> Array:
    """Return what freeness makes of those moments, from the moments of d: (…, 5)."""
    circle, first = spectra.semicircle_moments(2 * STEPS), powers[0]
    mixed = spectra.free_sum(circle, powers)
    both = spectra.free_sum(circle, circle)[3] + 0 * first
    return np.stack(np.broadcast_arrays(0 * first, first**2, both, mixed[3], mixed[5]), axis=-1).astype(np.float64)


@lru_cache(maxsize=1)
def classical_mixed() -> Array:
    """Return the same of commuting, independent A, B and D."""
    circle = spectra.semicircle_moments(2 * STEPS)
    d = spectra.gaussian_moments(2 * STEPS, mean=MEAN)
    mixed = spectra.independent_sum(circle, d)
    both = spectra.independent_sum(circle, circle)[3]
    found = [circle[1] ** 2, circle[1] * d[1], both, mixed[3], mixed[5]]
    return np.array([float(value) for value in found])


@lru_cache(maxsize=8)
def semicircle_limit(transposes: str) -> Array:
    """Return the limits of m_2, m_4, …, with W and Wᵀ dependent as they are, or independent as a rival has them."""
    return limits_of(matrix_programs.semicircle(STEPS), transposes)


@lru_cache(maxsize=8)
def covariance_limit(ratio: Fraction, transposes: str) -> Array:
    """Return the limits of m_1, m_2, … of X Xᵀ."""
    return limits_of(matrix_programs.covariance(COVARIANCE_STEPS, ratio), transposes)


@lru_cache(maxsize=1)
def freeness_limit() -> Array:
    """Return the limits of the mixed moments."""
    return limits_of(matrix_programs.freeness(), "dependent")


def limits_of(program: Program, transposes: str) -> Array:
    """Return the exact limits of a program's scalars, in the order of its outputs."""
    found = limit(program, method="exact", transposes=transposes).scalars
    return np.array([found[name].mean for name in program.outputs])


# --- what all of them share --------------------------------------------------------------------------------------


def scale(c: Config, width: int) -> Fraction | float:
    """Return n times the variance of the table's hidden entries n^(-(a+b)) w, exactly 1 where a + b = 1/2.

    The planted ``excess`` multiplies it.
    """
    hidden = table_of(c).of(Role.HIDDEN)
    power = 1 - 2 * (hidden.a + hidden.b)
    return Fraction(1) if power == 0 and c["excess"] == 1 else c["excess"] * float(width) ** float(power)


def parts(point: Point, size: int, *, every: int = 1) -> Iterator[tuple[int, ...]]:
    """Split the seeds, one in ``every``, such that matrices of ``size`` entries fit into memory."""
    chosen = [seed for seed in point.seeds if seed % every == 0]
    step = max(1, ENTRIES_AT_ONCE // size)
    for start in range(0, len(chosen), step):
        yield tuple(chosen[start : start + step])


def sampled(program: Program, point: Point, seeds: Sequence[int]) -> Array:
    """Return a program's scalars, (seed, output)."""
    c = point.config
    drawn: Mapping[str, Tensor] = sample(
        program, point.width, seeds, weights=c["program_weights"], device=c["device"], dtype=DTYPES[c["dtype"]]
    )
    return np.stack([drawn[name].cpu().numpy() for name in program.outputs], axis=1).astype(np.float64)


def scale_free(errors: Array, true: Array) -> Array:
    """Return the error of m_2 less what that of m_1 makes of it, were it one of scale: of first order in m_2/m_1².

    It scatters three times less, since it is scales that scatter most. Where m_1 is right on average, as that of
    X Xᵀ is, the mean is that of the error of m_2. ``errors`` are (seed, 2 or more); the result is (seed, 1).
    """
    return np.asarray(errors[:, 1:2] - 2 * true[1] / true[0] * errors[:, :1])


def relative(errors: Array, true: Array, orders: Sequence[int], seeds: Sequence[int]) -> Iterator[Row]:
    """Yield ``relative-moment-ORDER``, a moment over its limit, for errors (seed, order)."""
    for order, moment in zip(orders, (1 + errors / true).T, strict=True):
        yield from rows(f"relative-moment-{order}", moment[:, None], seeds)


def share(errors: Array, away: Array) -> Array:
    """Return the component of errors (seed, index) along a rival's distance from the limit, over it, (seed, 1)."""
    return np.asarray(errors @ away / (away @ away))[:, None]


def entries(point: Point, name: str, shape: tuple[int, int], seeds: Sequence[int]) -> Tensor:
    """Return matrices of independent N(0, scale/columns) entries, (seed, row, column), of streams of their own."""
    std = (float(scale(point.config, point.width)) / shape[1]) ** 0.5
    return _normal(point, name, shape, seeds).mul_(std)


def symmetric(point: Point, name: str, seeds: Sequence[int], *, fresh: bool = False) -> Tensor:
    """Return W + Wᵀ with entries of variance scale/n; ``fresh`` adds another matrix's transpose."""
    shape = (point.width, point.width)
    first = entries(point, name, shape, seeds)
    second = entries(point, f"{name}2", shape, seeds) if fresh else first
    return (first + second.mT).mul_(0.5**0.5)


def eigenvalues(matrices: Tensor) -> Array:
    """Return the eigenvalues of the symmetric part of matrices, in order of size, (seed, index)."""
    return np.asarray(torch.linalg.eigvalsh((matrices + matrices.mT) / 2).cpu().numpy(), dtype=np.float64)


def rows(quantity: str, values: Array, seeds: Sequence[int]) -> Iterator[Row]:
    """Yield values (seed, index) as rows."""
    for seed, of_seed in zip(seeds, values.tolist(), strict=True):
        for index, value in enumerate(of_seed):
            yield Row(quantity, value, seed=seed, index=index)


def _powers(found: Array, orders: tuple[int, ...], n: int) -> Array:
    return np.stack([(found**k).sum(axis=1) / n for k in orders], axis=1)


def _normal(point: Point, name: str, shape: tuple[int, ...], seeds: Sequence[int]) -> Tensor:
    dtype, device = DTYPES[point.config["dtype"]], torch.device(point.config["device"])
    return standard_normal(seeds, f"spectrum {name}", shape, dtype=dtype, device=device)
