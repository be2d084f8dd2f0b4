"""The claims ``nngp-NAME`` and ``ntk-NAME`` of every architecture in ``table.SUBJECTS``.

Of a network f of width n at initialisation under NTP, with z the vector that its read-out reads,

* ``K̂(x, x') = σ_w²/fan-in z(x)·z(x') + σ_b²`` is the covariance of f given everything below the read-out, and
* ``Θ̂(x, x') = Σ_θ ∂f(x)/∂θ ∂f(x')/∂θ``, over all parameters, is its tangent kernel.

By the Master Theorem of Tensor Programs both converge, for any architecture that is a program, to kernels K and Θ that
a recursion gives (``tpbench.limits.kernels``; Yang 2019, arXiv:1910.12478; Yang 2020, arXiv:2006.14548). They are
averages over n neurons of smooth functions of the layer below, which itself is such an average: one network is off by
n^(-1/2), and the mean of many by 1/n, since only what is quadratic in the error of the layer below stays.
"""

from tpbench.claims.architecture_kernels.subject import claims_of
from tpbench.claims.architecture_kernels.table import SUBJECTS

__all__ = ["CLAIMS", "SUBJECTS"]

CLAIMS = tuple(claim for subject in SUBJECTS for claim in claims_of(subject))
