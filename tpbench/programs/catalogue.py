"""Programs with names, and programs made of others: what is claimed of programs is measured on these.

* ``feed_forward``: the forward pass of a tanh network on two inputs, a fresh matrix a layer;
* ``recurrent``: a recurrent network on two inputs, one matrix for all times (Yang 2019, arXiv:1910.12478);
* ``gradient``: a forward and a backward pass, whose read-out v has a mean or none. Where v is independent of
  all else and has mean 0, the backward pass may take Wᵀ for independent of W (the "simple check" of gradient
  independence; Yang 2020, arXiv:2006.14548), because what it forgets is in proportion to E v; a read-out of ones is the
  counterexample.

All are asked for scalars.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tpbench.programs.build import program
from tpbench.programs.instructions import Binding, Function, GaussianMatrix, MatMul, Number
from tpbench.programs.operators import matrix
from tpbench.programs.program import Program
from tpbench.programs.symbols import Scalar, Vector, apply, gaussian, gaussians, inner, moment

TANH = Function("tanh", lambda x: x.tanh(), "tanh({0})")
BENT = Function("bent tanh", lambda x: (x + 0.5).tanh(), "tanh({0} + 1/2)")
COS = Function("cos", lambda x: x.cos(), "cos({0})")
HALF = Fraction(1, 2)


def feed_forward(*, layers: int = 3, judged: int = 2, variance: Number = Fraction(3, 2)) -> Program:
    """Return the forward pass of a tanh network, asked for averages over each of its last ``judged`` hidden layers.

    They are ``x_a²``, ``x_a x_b`` and ``cos h_a`` for inputs a and b, whose pre-activations in the first layer have
    variance 1 and covariance 1/2. Raises ``ValueError`` for fewer layers than are judged.
    """
    if not 1 <= judged <= layers:
        raise ValueError(f"of {layers} layers between 1 and all can be judged, got {judged}")
    h = gaussians("ha1", "hb1", covariance=[[1, HALF], [HALF, 1]])
    found: dict[str, Scalar] = {}
    for layer in range(1, layers + 1):
        x = [apply(TANH, each, name=f"x{name}{layer}") for name, each in zip("ab", h, strict=True)]
        if layer > layers - judged:
            place = layer - layers + judged
            found[f"square{place}"], found[f"product{place}"] = inner(x[0], x[0]), inner(x[0], x[1])
            found[f"cosine{place}"] = moment(COS, h[0])
        if layer < layers:
            weight = matrix(f"W{layer + 1}", variance=variance)
            h = weight @ x[0], weight @ x[1]
    return program(**found)


def recurrent(*, times: int = 3, variance: Number = Fraction(3, 2)) -> Program:
    """Return a recurrent network h_t = W tanh(h_{t-1} + 1/2) + u_t on one sequence, asked for averages over states.

    The input at every time is the same, so that states at different times are correlated through it and through W.
    Asked for are ``x_s x_t`` for all times s ≤ t but the first alone. Raises ``ValueError`` for fewer than 2 times.
    """
    if times < 2:
        raise ValueError(f"a recurrent network of at least 2 times was expected, got {times}")
    weight, driven = matrix("W", variance=variance), gaussian("u", variance=HALF)
    states: list[Vector] = [apply(BENT, driven, name="x1")]
    for time in range(2, times + 1):
        states.append(apply(BENT, weight @ states[-1] + driven, name=f"x{time}"))
    pairs = [(s, t) for t in range(1, times) for s in range(t + 1)]
    return program(**{f"product{s + 1}{t + 1}": inner(states[s], states[t]) for s, t in pairs})


def gradient(*, mean: Number = Fraction(0), variance: Number = Fraction(1)) -> Program:
    """Return x = h + h²/4, h₂ = W x and f = Σ v (h₂ + h₂²/4), back through Wᵀ; coordinates of v are N(mean, variance).

    Asked for: the gradient's average, its square, its product with x, and with h. All is polynomial, so its limit
    is exact. With ``∂f/∂h₂ = v (1 + h₂/2)`` the term that comes of W being used twice is ``x E v/2``.
    """
    h, v = gaussian("h"), gaussian("v", mean=mean, variance=variance)
    x = (h + h**2 * HALF**2).named("x")
    weight = matrix("W")
    dh = (v * (1 + (weight @ x).named("h2") * HALF)).named("dh2")
    dx = (weight.T @ dh).named("dx")
    return program(average=moment(dx), square=inner(dx, dx), along=inner(dx, x), driven=inner(dx, h))


def untied(known: Program) -> Program:
    """Return the program in which every product has a matrix of its own: as if products by one were independent."""
    bindings: list[Binding] = []
    for binding in known.bindings:
        if isinstance(binding, GaussianMatrix):
            continue
        if isinstance(binding, MatMul):
            fresh = f"{binding.matrix} of {binding.name}"
            bindings.append(replace(known.matrices[binding.matrix], name=fresh))
            bindings.append(replace(binding, matrix=fresh))
        else:
            bindings.append(binding)
    return Program(tuple(bindings), known.outputs)


def rescaled(known: Program, factor: Number) -> Program:
    """Return the program whose matrices have ``factor`` times their variance."""
    return Program(
        tuple(
            replace(binding, variance=binding.variance * factor) if isinstance(binding, GaussianMatrix) else binding
            for binding in known.bindings
        ),
        known.outputs,
    )
