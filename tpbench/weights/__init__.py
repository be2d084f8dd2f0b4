"""Gaussian weight matrices of an ensemble, dense or lazy, and the low-rank updates that SGD adds to them.

``DenseGaussian`` and ``LazyGaussian`` share one interface (``GaussianWeights``: ``W @ x``, ``W.T @ y``, a leading seed
axis, SGD steps in place); lazy ones draw from ``MonteCarlo`` or ``Sobol``. ``tpbench.weights.matrix.LazyMatrix`` puts a
lazy one into a PyTorch module.
"""

from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import Innovations, MonteCarlo, Sobol
from tpbench.weights.interface import GaussianWeights
from tpbench.weights.lazy import Axes, LazyGaussian

__all__ = ["Axes", "DenseGaussian", "GaussianWeights", "Innovations", "LazyGaussian", "MonteCarlo", "Sobol"]
