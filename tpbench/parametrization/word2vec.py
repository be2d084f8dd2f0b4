"""Which infinite-width limit an abc table has for word2vec, where the read-out may start at zero.

word2vec is a linear network with one hidden layer, embedding E and read-out C. A read-out that starts at zero is
smaller than any table's: the backward signal is then that of its updates alone, n^(-(2a_2 + c_2)).
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.parametrization.table import Parametrization


def embedding_movement(table: Parametrization, *, zero_output: bool) -> Fraction:
    """Return r: training moves embeddings by n^(-r) (arXiv:2011.14522, section 3, in our notation)."""
    e, c = table.input, table.output
    update = 2 * c.a + c.c
    return (update if zero_output else min(c.a + c.b, update)) + e.c + 2 * e.a


def learns_features(table: Parametrization, *, zero_output: bool) -> bool:
    """Return whether a table is muP in some gauge, whose limit is the network started at the identity.

    E starts at coordinates of size 1 and moves by as much (a_1 + b_1 = 0, 2a_1 + c_1 = -1), C is of size 1/n and so
    are its updates (a_2 + b_2 = 1 unless C starts at 0, 2a_2 + c_2 = 1).
    """
    e, c = table.input, table.output
    return e.a + e.b == 0 and 2 * e.a + e.c == -1 and 2 * c.a + c.c == 1 and (zero_output or c.a + c.b == 1)


def check_feature_learning(table: Parametrization, *, zero_output: bool) -> None:
    """Raise ``ValueError`` when a table is not muP in some gauge, whose limit is the network started at the identity.

    See ``learns_features``.
    """
    if not learns_features(table, zero_output=zero_output):
        raise ValueError(
            f"parametrization {table.name!r} is not muP in some gauge (2a_1 + c_1 = -1, 2a_2 + c_2 = 1, a_1 + b_1 = 0"
            f"{'' if zero_output else ', a_2 + b_2 = 1'}), so the network started at the identity is not its limit; a "
            "table in the kernel regime has another limit (kernel_terms)"
        )


def kernel_terms(table: Parametrization, *, zero_output: bool) -> tuple[float, float]:
    """Return (κ_C, κ_E) of a table in the kernel regime at infinite width.

    κ_C = lim n · rate_C and κ_E = lim n std(C)² rate_E. Raises ``ValueError`` when a limit is infinite, or when E
    moves at infinite width (r_1 <= 0), so that there is no kernel.
    """
    e, c = table.input, table.output
    start, moves = c.a + c.b, embedding_movement(table, zero_output=zero_output)
    powers = {"C": 1 - 2 * c.a - c.c, "E": 1 - 2 * start - 2 * e.a - e.c}
    if zero_output:
        del powers["E"]
    if e.a + e.b != 0 or moves <= 0 or max(powers.values()) > 0:
        raise ValueError(
            f"parametrization {table.name!r} is not in the kernel regime: embeddings start at n^{-(e.a + e.b)} and "
            f"move by n^{-moves}, the kernel's terms are of size "
            f"{', '.join(f'n^{power} ({layer})' for layer, power in powers.items())}; there is no kernel limit"
        )
    # At the base width both terms are 1 (networks.word2vec.model): n0 rate_C = n0 std(C)² rate_E = 1.
    return (1.0 if powers["C"] == 0 else 0.0), (1.0 if powers.get("E") == 0 else 0.0)
