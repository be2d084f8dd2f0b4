"""NNGP and NTK of infinitely wide networks, by recursion over layers.

``kernels`` is the fast one of the multilayer perceptron: ``mlp.py`` its face, ``plan.py`` the recursion, ``tiles.py``
the engine on top of ``sides.py``, ``forms.py`` and ``crew.py``. ``architecture_kernels`` knows every architecture, in
float64.
"""

from tpbench.limits.kernels.architectures import architecture_kernels
from tpbench.limits.kernels.mlp import kernels
from tpbench.limits.kernels.noun import Kernels

__all__ = ["Kernels", "architecture_kernels", "kernels"]
