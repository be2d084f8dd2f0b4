"""Empirical kernels of finite networks: of our ensembles, dense or lazy, and of any PyTorch module.

``empirical_kernels`` takes the cheapest exact road for our own architectures, ``empirical_ntk`` for a user's module.
"""

from tpbench.networks.tangent.ensemble import METHODS, empirical_kernels
from tpbench.networks.tangent.module import empirical_ntk

__all__ = ["METHODS", "empirical_kernels", "empirical_ntk"]
