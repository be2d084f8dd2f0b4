"""Random programs, from choices that whoever asks makes: a numbered generator, or a test that shrinks what fails.

A program starts with two correlated Gaussian vectors and has one or two matrices. It multiplies, applies bounded
nonlinearities to products, to sums with earlier vectors and to multiples by scalars (second moments of earlier
vectors), and is asked for the means of functions of two of its vectors. All functions are smooth and bounded by
polynomials, so that the Master Theorem covers it (Yang 2020, arXiv:2009.10685).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import numpy as np

from tpbench.programs.build import program
from tpbench.programs.instructions import Function
from tpbench.programs.operators import Operator, matrix
from tpbench.programs.program import Program
from tpbench.programs.symbols import Vector, apply, gaussians, inner, moment

Choose = Callable[[int], int]
"""Takes k and returns one of 0 … k - 1, of which smaller ones make simpler programs: all the randomness there is."""
T = TypeVar("T")

UNARY = (
    Function("tanh", lambda x: x.tanh(), "tanh({0})"),
    Function("erf", lambda x: x.erf(), "erf({0})"),
    Function("sin", lambda x: x.sin(), "sin({0})"),
    Function("shifted tanh", lambda x: (x + 0.5).tanh(), "tanh({0} + 1/2)"),
    Function("bump", lambda x: 2 / (1 + x * x), "2/(1 + {0}²)"),
)
"""Nonlinearities: bounded and smooth, odd ones first."""
OF_SUM = Function("tanh of a sum", lambda x, y: (x + y).tanh(), "tanh({0} + {1})")
OF_PRODUCT = Function("product with sin", lambda x, y: x.tanh() * (y + 0.5).sin(), "tanh({0}) sin({1} + 1/2)")
OF_MULTIPLE = Function("sin of a multiple", lambda x, c: (c * x).sin(), "sin({1} {0})")
ASKED = (
    Function("product", lambda x, y: x * y, "{0} {1}"),
    Function("square by a bounded one", lambda x, y: x * x * y.cos(), "{0}² cos({1})"),
    Function("odd product", lambda x, y: x.tanh() * y, "tanh({0}) {1}"),
    Function("cosine", lambda x, y: (x + y).cos(), "cos({0} + {1})"),
)
"""What means are taken of."""
VARIANCES = (Fraction(1), Fraction(3, 2), Fraction(2))
CORRELATIONS = (Fraction(0), Fraction(1, 2), Fraction(-1, 2))
MOST_PRODUCTS = 4
MOST_MATRICES = 2


@dataclass
class Draft:
    """A program being written: its matrices, ``vectors`` that matrices may multiply, and all vectors, latest first."""

    choose: Choose
    matrices: list[Operator]
    vectors: list[Vector]
    known: list[Vector] = field(default_factory=list)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.choose(len(options))]


def random_program(
    choose: Choose, *, transposes: bool = False, scalars: bool = True, products: int = MOST_PRODUCTS, moments: int = 3
) -> Program:
    """Return a program with at most so many products by matrices, which is asked for so many moments, m1, m2, …

    With ``transposes`` it multiplies by some matrix and by its transpose, a function of the one product going into the
    other; without, it has no transposes. ``scalars`` lets moments into nonlinearities.
    Raises ``ValueError`` for fewer than 1 product (2 with transposes) or moment.
    """
    least = 2 if transposes else 1
    if products < least or moments < 1:
        raise ValueError(
            f"a random program has at least {least} products{' with transposes' * transposes} and 1 moment, got "
            f"{products} and {moments}"
        )
    draft = _begun(choose)
    for number in range(least + choose(products - least + 1)):
        vector, operator = _product(draft, number, transposes)
        h = operator @ vector
        x = _nonlinearity(draft, h, scalars)
        draft.vectors.insert(0, x)
        draft.known[:0] = [h, x]
    asked = [moment(draft.pick(ASKED), draft.known[0], draft.pick(draft.known[1:]))]
    asked += [moment(draft.pick(ASKED), draft.pick(draft.known), draft.pick(draft.known)) for _ in range(moments - 1)]
    return program(**{f"m{place}": value for place, value in enumerate(asked, start=1)})


def numbered_program(number: int, *, transposes: bool = False) -> Program:
    """Return the random program of a number; ``ValueError`` for a number below 0."""
    if number < 0:
        raise ValueError(f"random programs are numbered from 0, got {number}")
    generator = np.random.default_rng([20, number])
    return random_program(lambda count: int(generator.integers(count)), transposes=transposes)


def _begun(choose: Choose) -> Draft:
    between = CORRELATIONS[choose(len(CORRELATIONS))]
    vectors = [*gaussians("x", "y", covariance=[[1, between], [between, 1]])]
    matrices = [
        matrix(f"W{place}", variance=VARIANCES[choose(len(VARIANCES))]) for place in range(1, 2 + choose(MOST_MATRICES))
    ]
    return Draft(choose, matrices, vectors, [*vectors])


def _product(draft: Draft, number: int, transposes: bool) -> tuple[Vector, Operator]:
    """Return what is multiplied by what. The first two products of a program with transposes are by W1 and by W1ᵀ."""
    if transposes and number < 2:
        vector = draft.pick(draft.vectors) if number == 0 else draft.vectors[0]
        return vector, draft.matrices[0].T if number else draft.matrices[0]
    vector, operator = draft.pick(draft.vectors), draft.pick(draft.matrices)
    return vector, operator.T if transposes and draft.choose(2) else operator


def _nonlinearity(draft: Draft, h: Vector, scalars: bool) -> Vector:
    form = draft.choose(4 if scalars else 3)
    if form == 0:
        return apply(draft.pick(UNARY), h)
    other = draft.pick(draft.known)
    if form == 3:
        return apply(OF_MULTIPLE, h, inner(other, other))
    return apply(OF_SUM if form == 1 else OF_PRODUCT, h, other)
