"""Layer normalisation (Ba et al. 2016, arXiv:1607.06450) at infinite width."""

from __future__ import annotations

from torch import Tensor

from tpbench.limits.kernels.state import State, variances


def layer_norm(state: State) -> State:
    """Return every example's neurons, at every position, less their mean and divided by their standard deviation.

    The neurons of z(x) are independent with mean 0 and variance K(x, x), so that their mean vanishes and their
    standard deviation is sqrt(K(x, x)): K' = K / sqrt(K(x, x) K(x', x')).

    The Jacobian is ``(1 - 11ᵀ/n - ẑẑᵀ/n) / std``. The projection takes two directions of n out of a backward signal,
    which lies along neither: its products with 1 and ẑ are sums of n terms of random sign, so what is taken out has a
    share of 1/n of its square. The same holds for the trace that makes the kernel of one neuron. So the statistics
    may be treated as constants, unlike those of a batch: Θ' = Θ / sqrt(K(x, x) K(x', x')).

    Raises ``ValueError`` where a variance is 0.
    """
    rows, columns = variances(state.left), variances(state.right)
    if not bool((rows > 0).all() and (columns > 0).all()):
        raise ValueError(
            "layer normalisation divides by the standard deviation of an example's neurons, and that of one is 0: "
            "leave out inputs that are all zero, or let sigma_b be above 0"
        )
    scale = (rows[:, None, :, None] * columns[None, :, None, :]).sqrt()
    return State(
        nngp=state.nngp / scale, ntk=state.ntk / scale, left=_correlations(state.left), right=_correlations(state.right)
    )


def _correlations(covariances: Tensor) -> Tensor:
    spread = variances(covariances)
    return covariances / (spread[:, :, None] * spread[:, None, :]).sqrt()
