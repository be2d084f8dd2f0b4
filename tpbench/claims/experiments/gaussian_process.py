"""How far networks at initialisation are from a Gaussian process: cumulants, dependence of neurons, law of the output.

With K̂ a network's own covariance of its output given everything below the read-out, f is then exactly Gaussian, so

* ``κ(f_a, f_a, f_b, f_b) = Cov(K̂_aa, K̂_bb) + 2 Var(K̂_ab)`` by the law of total cumulance, the f_a being one output at
  example a: ``fourth-cumulant``, in units of K_aa K_bb;
* ``P(d·f ≤ u sqrt(dᵀKd)) = E Φ(u sqrt(dᵀKd / dᵀK̂d))`` for a projection d: ``law-error``, this less Φ(u);
* ``Cov(h_i(a) h_i(b), h_j(a) h_j(b))`` of two neurons i ≠ j of the last hidden layer (for a recurrent network: at the
  last time) is their cross-cumulant, but for the square of ``E h_i(a) h_j(b)``: ``neuron-cumulant``. It is measured on
  the neurons themselves: with q the mean over neurons of ``p_i = h_i(a) h_i(b)`` it is ``Var q`` less the mean of
  ``Σ_i (p_i - q)²/(n(n - 1))``, which independent neurons would give. In units of the limit of ``E h(a)² E h(b)²``.

K is the limit; ``rival-share`` is the component of K̂ - K along (rival - K). A row is the unbiased estimate from
``TEAM`` networks: one network alone has no variance, and the noise of what is estimated falls with it, like 1/n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from tpbench.architecture import Architecture, Perceptron, Recurrent, architecture
from tpbench.bench.claim import LAZY, Point, Row
from tpbench.claims.experiments.architecture_kernels import inputs_of, needs, parts
from tpbench.claims.experiments.setup import DTYPES
from tpbench.claims.experiments.shared import found
from tpbench.limits.kernels import architecture_kernels
from tpbench.networks.architectures import Use, initial
from tpbench.networks.tangent.structured import conditional_covariance
from tpbench.weights.gaussian import standard_normal

Array = NDArray[np.float64]
TEAM = 32
PLACES = (0.5, 1.0, 2.0)
"""Where distribution functions are compared, in standard deviations."""
PROJECTIONS = 4


def run(point: Point) -> Iterator[Row]:
    """Yield the rows described above, at step 0.

    Keys of the configuration that plant errors: networks are no wider than ``widest``, and every read-out has a
    standard deviation of its own, 1 ± ``scatter``.
    """
    [(limit, _), _], [(rival, _), _] = (found(need) for need in needs(point))
    of, c = architecture(point.config["architecture"]), point.config
    inputs = torch.as_tensor(inputs_of(c)[: c["probes"]], dtype=torch.float64, device=torch.device(c["device"]))
    hidden = hidden_limit(of, inputs).cpu().numpy()
    drawn = [measure(point, seeds) for seeds in parts(point)]
    covariance, common, own = (np.concatenate(each) for each in zip(*drawn, strict=True))
    laws, shares = law_errors(covariance, limit), rival_shares(covariance, limit, rival)
    for team in teams(len(point.seeds)):
        seed = point.seeds[team[0]]
        yield from _indexed("fourth-cumulant", fourth_cumulants(covariance[team], limit), seed)
        yield from _indexed("neuron-cumulant", neuron_cumulants(common[team], own[team], hidden), seed)
        yield from _indexed("law-error", laws[team].mean(axis=0), seed)
        yield Row("rival-share", float(shares[team].mean()), seed=seed, step=0)


def measure(point: Point, seeds: Sequence[int]) -> tuple[Array, Array, Array]:
    """Return K̂, q and Σ_i (p_i - q)²/(n(n - 1)) of every network, each (seed, a, b)."""
    c = point.config
    device, dtype = torch.device(c["device"]), DTYPES[c["dtype"]]
    of = architecture(c["architecture"])
    inputs = torch.as_tensor(inputs_of(c)[: c["probes"]], dtype=dtype, device=device)
    width = min(point.width, c["widest"] or point.width)
    network = initial(of, width, seeds, lazy=c["weights"] == LAZY, device=device, dtype=dtype)
    _, uses = network.recorded(inputs)
    covariance = conditional_covariance(uses[-1])
    if c["scatter"] > 0:
        signs = standard_normal(seeds, "scatter", (1, 1), dtype=torch.float64, device=device).sign()
        covariance = covariance * (1 + c["scatter"] * signs) ** 2
    h = last_hidden(of, uses).detach().to(torch.float64)
    products = h[:, :, None] * h[:, None]  # (seed, a, b, neuron)
    common, own = products.mean(dim=-1), products.var(dim=-1) / width
    return covariance.cpu().numpy(), common.cpu().numpy(), own.cpu().numpy()


def last_hidden(of: Architecture, uses: Sequence[Use]) -> Tensor:
    """Return the pre-activations of the last hidden layer, (seed, example, neuron), from a network's linear maps."""
    return LAST_HIDDEN[type(of)](of, uses)


def _last_state(of: Recurrent, uses: Sequence[Use]) -> Tensor:
    """Return h_T: what drives it comes from the inputs, all at once where weights are tied."""
    recurrent = [use for use in uses if use.name.startswith("recurrent")]
    driven = uses[0].y[:, :, -1] if of.tied else uses[len(recurrent)].y
    return recurrent[-1].y + driven


LAST_HIDDEN: Mapping[type[Any], Callable[[Any, Sequence[Use]], Tensor]] = {
    Perceptron: lambda _, uses: uses[-2].y,
    Recurrent: _last_state,
}


def hidden_limit(of: Architecture, inputs: Tensor) -> Tensor:
    """Return the limiting covariance of one neuron of the last hidden layer between all inputs, (a, b).

    It is that of the output of a network with one layer less, or one time less. Raises ``ValueError`` for another
    architecture than a perceptron or a recurrent network, and where there is no layer or time less.
    """
    if type(of) not in HIDDEN_LIMITS:
        known = " and ".join(each.__name__ for each in HIDDEN_LIMITS)
        raise ValueError(f"neurons are compared in the networks {known}, got {type(of).__name__}")
    return HIDDEN_LIMITS[type(of)](of, inputs)


def _of_perceptron(of: Perceptron, x: Tensor) -> Tensor:
    return architecture_kernels(replace(of, depth=of.depth - 1), x).nngp


def _of_last_state(of: Recurrent, s: Tensor) -> Tensor:
    """``h_T = lin_W(phi(h_{T-1})) + lin_U(s_T)``, the first term without a bias: the output's has one, as lin_U has."""
    before = architecture_kernels(replace(of, readout="last"), s[:, :-1]).nngp
    return before + of.sigma_w**2 * (s[:, -1] @ s[:, -1].mT) / s.shape[-1]


HIDDEN_LIMITS: Mapping[type[Any], Callable[[Any, Tensor], Tensor]] = {
    Perceptron: _of_perceptron,
    Recurrent: _of_last_state,
}


def fourth_cumulants(covariance: Array, scale: Array) -> Array:
    """Return κ(f_a, f_a, f_b, f_b)/(K_aa K_bb) for all a ≤ b from networks' K̂ (seed, a, b), without bias."""
    variances = np.einsum("saa->sa", covariance)
    together = np.atleast_2d(np.cov(variances, rowvar=False))
    cumulants = together + 2 * covariance.var(axis=0, ddof=1)
    return _pairs(cumulants / np.outer(np.diag(scale), np.diag(scale)))


def neuron_cumulants(common: Array, own: Array, scale: Array) -> Array:
    """Return Cov(p_i, p_j)/(K_aa K_bb) of two neurons for all a ≤ b, without bias.

    ``common`` is q and ``own`` Σ_i (p_i - q)²/(n(n - 1)) of every network, (seed, a, b); ``scale`` is K of the neurons.
    """
    cumulants = common.var(axis=0, ddof=1) - own.mean(axis=0)
    return _pairs(cumulants / np.outer(np.diag(scale), np.diag(scale)))


def law_errors(covariance: Array, limit: Array) -> Array:
    """Return P(d·f ≤ u sqrt(dᵀKd)) - Φ(u) of every network given K̂, (seed, projection and place)."""
    d = projections(len(limit))
    ratio = np.sqrt(np.einsum("pa,ab,pb->p", d, limit, d) / np.einsum("pa,sab,pb->sp", d, covariance, d))
    places = np.array(PLACES)
    errors = ndtr(places * ratio[..., None]) - ndtr(places)
    return np.asarray(errors.reshape(len(covariance), -1))


def projections(examples: int) -> Array:
    """Return the directions (projection, example) in which outputs are compared, the same in every run."""
    drawn = np.random.default_rng(examples).standard_normal((PROJECTIONS, examples))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def rival_shares(covariance: Array, limit: Array, rival: Array) -> Array:
    """Return every network's component of K̂ - K along (rival - K)."""
    away = rival - limit
    distance = float((away**2).sum())
    if distance == 0.0:
        raise ValueError("the rival has the same covariance as the limit: choose another rival_architecture")
    return np.asarray(((covariance - limit) * away).sum(axis=(1, 2)) / distance)


def teams(networks: int) -> list[Array]:
    """Return which networks make up each team; ``ValueError`` for a single network, which has no variance."""
    if networks < 2:
        raise ValueError(f"a variance over networks needs at least 2 of them, got {networks}: take more seeds")
    return np.array_split(np.arange(networks), max(1, networks // TEAM))


def _pairs(matrix: Array) -> Array:
    return np.asarray(matrix[np.triu_indices(len(matrix))])


def _indexed(quantity: str, values: Array, seed: int) -> Iterator[Row]:
    for index, value in enumerate(values.tolist()):
        yield Row(quantity, value, seed=seed, step=0, index=index)
