"""abc parametrizations and what theory predicts from them, in exact rational arithmetic.

Layer l's weight is ``W^l = n^(-a_l) w^l`` with ``w^l ~ N(0, n^(-2 b_l))`` and learning rate ``eta n^(-c_l)``
(Yang & Hu 2021, arXiv:2011.14522, section 3). Only the role of a weight matters: *input* (fixed fan-in), *hidden*
(fan-in and fan-out n), *output* (fan-out fixed). The bias of a hidden layer is an input weight on the constant 1;
the output bias has width-free size and exponents of its own.

The predicted exponents hold for SGD on a multilayer perceptron after O(1) steps, with an activation that is neither
constant nor, for the dichotomy of regimes, linear. ``depth`` is the number L of hidden layers; layer L + 1 is the
read-out. Every exponent is the power of n of a root mean square.
"""

from tpbench.parametrization.files import PARAMETRIZATIONS, from_config, named, read_table, table_of
from tpbench.parametrization.predict import (
    EXPONENTS,
    Regime,
    backward_exponent,
    exponent,
    kernel_content,
    least_movement,
    movement,
    regime,
    violations,
)
from tpbench.parametrization.table import (
    Exponents,
    Parametrization,
    Role,
    Scale,
    did_you_mean,
    role_of,
    scale,
)

__all__ = [
    "EXPONENTS",
    "PARAMETRIZATIONS",
    "Exponents",
    "Parametrization",
    "Regime",
    "Role",
    "Scale",
    "backward_exponent",
    "did_you_mean",
    "exponent",
    "from_config",
    "kernel_content",
    "least_movement",
    "movement",
    "named",
    "read_table",
    "regime",
    "role_of",
    "scale",
    "table_of",
    "violations",
]
