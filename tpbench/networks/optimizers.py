"""Optimizers beside SGD that the theory speaks of: sign descent, Adam and AdamW, spectral descent.

All of them forget the size of the gradient, so a layer's update no longer carries its multiplier twice: their abc
symmetry is ``(a + θ, b - θ, c - θ)``, where SGD's is ``(a + θ, b - θ, c - 2θ)`` (Yang & Littwin 2023, arXiv:2308.01814,
on adaptive optimizers). Layer l takes the learning rate eta n^(-c_l), relative to the base width, as for SGD.

The gradient of a weight is ``scale · Σ_b y_b x_bᵀ`` (``Factors``). The update has low rank for spectral descent, and
for sign descent on one example a step: these train lazy weights exactly. Adam's has full rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from tpbench.networks.factors import Factors, Step, check_settings, factors
from tpbench.networks.mlp import Ensemble, Trace, parameters
from tpbench.parametrization import Role
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.interface import GaussianWeights

RANK_TOLERANCE_IN_EPS = 512
"""Singular values of a gradient below so many roundings of the largest are rounding, and their directions are left out
of U Vᵀ: all singular values are made 1, so that rounding would otherwise move a weight as much as the gradient does."""


@dataclass(frozen=True)
class SignDescent:
    """``w <- (1 - eta lambda) w - eta n^(-c) sign(gradient)``: Adam without memory (betas 0, epsilon 0).

    Weight decay is decoupled from the gradient and, as for ``Sgd``, shrinks by 1 - eta lambda at every width. An entry
    whose gradient is 0 stays. Lazy weights are trained on one example a step, where ``sign(y xᵀ) = sign(y) sign(x)ᵀ``
    is of rank one; ``ValueError``, before anything changes, for larger batches.
    """

    learning_rate: float
    weight_decay: float = 0.0
    batch: int | None = None
    loss: str = "mse"

    def __post_init__(self) -> None:
        check_settings("sign descent", self.learning_rate, self.weight_decay, self.batch, self.loss)

    def begin(self, ensemble: Ensemble) -> Step:
        """Return the step, which remembers nothing."""
        if self.batch is not None and self.batch > 1:
            _only_dense(ensemble, f"sign descent on batches of {self.batch} examples", "batch=1")
        return self._step_

    def _step_(self, ensemble: Ensemble, trace: Trace, gradients: Sequence[Tensor]) -> None:
        batch = trace.output.shape[1]
        if batch > 1:
            _only_dense(ensemble, f"sign descent on batches of {batch} examples", "batch=1")
        for g in factors(ensemble, trace, gradients):
            rate, decay = self.learning_rate * g.rate, self.weight_decay / g.rate
            if batch == 1:
                g.weights.step_(g.y.sign(), g.x.sign(), scale=_sign(g.scale), rate=rate, momentum=0.0, decay=decay)
            else:
                _dense(g.weights).change_(_gradient(g).sign_(), rate=rate, decay=decay)


@dataclass(frozen=True)
class Spectral:
    """``w <- (1 - eta lambda) w - eta n^(-c) U Vᵀ`` where the gradient is ``U S Vᵀ``: steepest descent in the spectral
    norm (Carlson et al. 2015; Bernstein & Newhouse 2024, arXiv:2409.20325), Muon without momentum.

    The gradient's rank is at most the batch, so U Vᵀ comes from its factors, exactly, for dense and lazy weights: no
    Newton-Schulz iteration and no n × n decomposition. A bias is a matrix of one column, whose U Vᵀ is gradient /
    ‖gradient‖. Weight decay is decoupled and shrinks by 1 - eta lambda at every width.
    """

    learning_rate: float
    weight_decay: float = 0.0
    batch: int | None = None
    loss: str = "mse"

    def __post_init__(self) -> None:
        check_settings("spectral descent", self.learning_rate, self.weight_decay, self.batch, self.loss)

    def begin(self, ensemble: Ensemble) -> Step:
        """Return the step, which remembers nothing."""
        return self._step_

    def _step_(self, ensemble: Ensemble, trace: Trace, gradients: Sequence[Tensor]) -> None:
        for g in factors(ensemble, trace, gradients):
            u, v = polar_factors(g.y, g.x)
            rate, decay = self.learning_rate * g.rate, self.weight_decay / g.rate
            g.weights.step_(u, v, scale=_sign(g.scale), rate=rate, momentum=0.0, decay=decay)


def polar_factors(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows u (seed, rank, out) and v (seed, rank, in) with ``Σ_r u_r v_rᵀ = U Vᵀ`` of ``Σ_b y_b x_bᵀ = U S Vᵀ``.

    With the factorisations yᵀ = Q_y R_y and xᵀ = Q_x R_x the matrix is Q_y (R_y R_xᵀ) Q_xᵀ, and its singular vectors
    are those of the small core, turned. Rows of u whose singular value is rounding are zero, since ranks may differ
    between seeds. A seed whose factors are not finite gets u that is not a number.
    """
    finite = (y.isfinite().all(-1).all(-1) & x.isfinite().all(-1).all(-1))[:, None, None]
    (q_y, r_y), (q_x, r_x) = (torch.linalg.qr(torch.where(finite, f, 0.0).mT) for f in (y, x))
    left, values, right = torch.linalg.svd(r_y @ r_x.mT, full_matrices=False)
    kept = values > RANK_TOLERANCE_IN_EPS * torch.finfo(y.dtype).eps * values.amax(-1, keepdim=True)
    u = (q_y @ (left * kept[:, None, :])).mT
    return torch.where(finite, u, torch.nan), (q_x @ right.mT).mT


@dataclass(frozen=True)
class Adam:
    """``torch.optim.AdamW`` (with ``decoupled`` False, ``torch.optim.Adam``) with a rate, epsilon and decay a layer.

    A layer of role r has lr = eta n^(-c), eps = epsilon n^(-e_r) with e_r from ``epsilon_powers`` (0 for roles that are
    not named, as without them), and weight decay so that a step shrinks by 1 - eta lambda at every width, as for
    ``Sgd``. With ``decay_powers`` torch's weight_decay is lambda n^(-d_r) instead (0 for roles that are not named: one
    decay for all), and a step shrinks by 1 - eta n^(-c) lambda n^(-d_r): the coupling to the rate that torch has. The
    bias of a hidden layer has the role of an input weight. Powers are of n / ``base_width``, which is to be that of
    the ensemble; without powers it plays no part.

    Dense weights only: the update has full rank, so lazy ones raise ``ValueError``. So does decay inside the gradient
    (``decoupled`` False) without ``decay_powers``: dividing by the gradient's size leaves no width-free shrinking.
    Source: Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True
    batch: int | None = None
    loss: str = "mse"
    epsilon_powers: Mapping[Role, Fraction] | None = None
    decay_powers: Mapping[Role, Fraction] | None = None
    base_width: int = 1

    def __post_init__(self) -> None:
        check_settings("Adam", self.learning_rate, self.weight_decay, self.batch, self.loss)
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 < self.epsilon < math.inf or self.base_width < 1:
            raise ValueError(
                "Adam needs betas in [0, 1), epsilon above 0 (and finite), a base width of at least 1; got "
                f"{self.betas}, {self.epsilon} and {self.base_width}"
            )
        if self.weight_decay and not self.decoupled and self.decay_powers is None:
            raise ValueError(
                "Adam with weight decay in the gradient (decoupled=False) has no decay that shrinks alike at every "
                "width: give decay_powers, {} for one decay for all, or decoupled=True"
            )

    def begin(self, ensemble: Ensemble) -> Step:
        """Return the step with moments of zero; ``ValueError`` for an ensemble with lazy weights."""
        _only_dense(ensemble, "Adam, whose update has full rank,", "sign descent with batch=1, or spectral descent,")
        return _AdamStep(self, ensemble)

    def epsilon_of(self, role: Role, width: int) -> float:
        """Return epsilon n^(-e) of a role."""
        return self.epsilon * self._factor(self.epsilon_powers or {}, role, width)

    def decay_of(self, role: Role, rate: float, width: int) -> float:
        """Return torch's weight_decay of a role whose learning rate is ``rate`` relative to eta."""
        if self.decay_powers is None:
            return self.weight_decay / rate
        return self.weight_decay * self._factor(self.decay_powers, role, width)

    def _factor(self, powers: Mapping[Role, Fraction], role: Role, width: int) -> float:
        return float((width / self.base_width) ** -float(powers.get(role, 0)))


class _AdamStep:
    """Adam's first and second moments of one training, in the order of ``factors``."""

    def __init__(self, adam: Adam, ensemble: Ensemble) -> None:
        self._adam, self._count = adam, 0
        # in the order of `factors`: a bias after its weight
        both = [weights for layer in ensemble.layers for weights in (layer.weights, layer.bias) if weights is not None]
        tensors = [_dense(weights).current for weights in both]
        self._moments = [(torch.zeros_like(w), torch.zeros_like(w), torch.empty_like(w)) for w in tensors]

    def __call__(self, ensemble: Ensemble, trace: Trace, gradients: Sequence[Tensor]) -> None:
        self._count += 1
        for g, moments in zip(factors(ensemble, trace, gradients), self._moments, strict=True):
            self._update_(g, *moments, width=ensemble.mlp.width)

    def _update_(self, g: Factors, first: Tensor, second: Tensor, scratch: Tensor, *, width: int) -> None:
        adam, weights = self._adam, _dense(g.weights)
        one, two = adam.betas
        decay = adam.decay_of(g.role, g.rate, width)
        gradient = _gradient(g, out=scratch)
        if not adam.decoupled:
            gradient.add_(weights.current, alpha=decay)
        first.lerp_(gradient, 1 - one)
        second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        size = torch.sqrt(second, out=scratch).div_(math.sqrt(1 - two**self._count))
        direction = torch.div(first, size.add_(adam.epsilon_of(g.role, width)), out=scratch)
        direction.div_(1 - one**self._count)
        weights.change_(direction, rate=adam.learning_rate * g.rate, decay=decay if adam.decoupled else 0.0)


def _sign(number: float) -> float:
    return math.copysign(1.0, number) if number else 0.0


def _gradient(g: Factors, out: Tensor | None = None) -> Tensor:
    """Return ``scale · Σ_b y_b x_bᵀ``, (seed, out, in)."""
    return torch.bmm(g.y.mT, g.x, out=out).mul_(g.scale)


def _only_dense(ensemble: Ensemble, what: str, remedy: str) -> None:
    """Raise ``ValueError`` where some weights are not dense."""
    if not all(isinstance(weights, DenseGaussian) for weights, _ in parameters(ensemble)):
        raise ValueError(
            f"{what} was asked to train lazy weights; nothing has been changed. A lazy weight changes by outer "
            f"products of few vectors only: use {remedy} or dense weights"
        )


def _dense(weights: GaussianWeights) -> DenseGaussian:
    assert isinstance(weights, DenseGaussian), "checked where the training begins"
    return weights
