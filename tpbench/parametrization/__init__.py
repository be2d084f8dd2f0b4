"""abc parametrizations and what theory predicts from them, in exact rational arithmetic.

Layer l's weight is ``W^l = n^(-a_l) w^l`` with ``w^l ~ N(0, n^(-2 b_l))`` and learning rate ``eta n^(-c_l)``
(Yang & Hu 2021, arXiv:2011.14522, section 3). Only the role of a weight matters: *input* (fixed fan-in), *hidden*
(fan-in and fan-out n), *output* (fan-out fixed). The bias of a hidden layer is an input weight on the constant 1;
the output bias has width-free size and exponents of its own.

The predicted exponents hold for SGD on a multilayer perceptron after O(1) steps, with an activation that is neither
constant nor, for the dichotomy of regimes, linear. ``depth`` is the number L of hidden layers; layer L + 1 is the
read-out. Every exponent is the power of n of a root mean square.
"""

from tpbench.parametrization.files import (
    CONTESTED,
    NAMED,
    PARAMETRIZATIONS,
    from_config,
    named,
    read_table,
    table_of,
)
from tpbench.parametrization.predict import (
    EXPONENTS,
    arrival,
    backward_exponent,
    exponent,
    kernel_content,
    least_movement,
    movement,
    role_exponents,
)
from tpbench.parametrization.rule import (
    ADAM,
    ALIGNMENTS,
    NO_ALIGNMENT,
    READOUT_UNALIGNED,
    RULES,
    SGD,
    SPECTRAL,
    TENSOR_PROGRAMS,
    Alignment,
    Family,
    Rule,
)
from tpbench.parametrization.stability import (
    Analysis,
    Condition,
    Regime,
    analyse,
    conditions,
    regime,
    shrinkage,
    violations,
)
from tpbench.parametrization.symmetry import canonical, equivalent, shifted, with_maximal_rates
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
    "ADAM",
    "ALIGNMENTS",
    "CONTESTED",
    "EXPONENTS",
    "NAMED",
    "NO_ALIGNMENT",
    "PARAMETRIZATIONS",
    "READOUT_UNALIGNED",
    "RULES",
    "SGD",
    "SPECTRAL",
    "TENSOR_PROGRAMS",
    "Alignment",
    "Analysis",
    "Condition",
    "Exponents",
    "Family",
    "Parametrization",
    "Regime",
    "Role",
    "Rule",
    "Scale",
    "analyse",
    "arrival",
    "backward_exponent",
    "canonical",
    "conditions",
    "did_you_mean",
    "equivalent",
    "exponent",
    "from_config",
    "kernel_content",
    "least_movement",
    "movement",
    "named",
    "read_table",
    "regime",
    "role_exponents",
    "role_of",
    "scale",
    "shifted",
    "shrinkage",
    "table_of",
    "violations",
    "with_maximal_rates",
]
