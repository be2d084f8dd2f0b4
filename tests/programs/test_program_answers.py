"""One matrix at infinite width: its bases, and the answers to vectors that depend on each other."""

from __future__ import annotations

import torch
from torch import Tensor

from tpbench.programs.infinite.answers import Answers, AnswerSide

REPLICATES, SIZE, ROOM = 3, 64, 40


class Source:
    """Standard normal vectors, (replicate, point)."""

    def __init__(self) -> None:
        self._draw = torch.Generator(device="cpu").manual_seed(5)

    def normals(self) -> Tensor:
        device = torch.device("cpu")
        return torch.randn(REPLICATES, SIZE, generator=self._draw, dtype=torch.float64, device=device)

    def fill(self, out: Tensor) -> None:
        out.copy_(self.normals())


def matrix() -> Answers:
    like = Source().normals()
    sides = {flag: AnswerSide(ROOM, scale=1.0, follow=False, like=like) for flag in (False, True)}
    reused = {flag: like.new_zeros(REPLICATES, ROOM, ROOM) for flag in (False, True)}
    return Answers(sides, reused, {False: 1.0, True: 1.0}, reusing=True)


def test_bases_stay_orthonormal_while_queries_hardly_move() -> None:
    source, asked = Source(), matrix()
    x = source.normals()
    for step in range(ROOM):
        x = x + 1e-6 * source.normals()
        asked.ask(f"x{step}", x, False, road="", follow=False, draw=source.fill)
    basis = asked.sides[False].basis
    assert basis.shape == (REPLICATES, ROOM, SIZE)
    gram = basis @ basis.mT / SIZE
    assert float((gram - torch.eye(ROOM, dtype=gram.dtype, device=gram.device)).abs().max()) < 1e-8


def test_replicates_whose_vectors_are_dependent() -> None:
    source, asked = Source(), matrix()
    x, y = source.normals(), source.normals()
    y[0], x[1] = 3 * x[0], 0.0

    def ask(name: str, vector: Tensor) -> Tensor:
        return asked.ask(name, vector, False, road="stein", follow=False, draw=source.fill)

    first, second = ask("x", x), ask("y", y)
    torch.testing.assert_close(second[0], 3 * first[0], rtol=0, atol=1e-12)
    assert not first[1].any()
    assert second[1].any()
    torch.testing.assert_close(ask("sum", x - 2 * y), first - 2 * second, rtol=0, atol=1e-12)
    assert asked.sides[False].count == 2


def test_a_vector_of_zeros_adds_nothing() -> None:
    source, asked = Source(), matrix()
    zero = torch.zeros_like(source.normals())
    assert not asked.ask("zero", zero, False, road="autograd", follow=False, draw=source.fill).any()
    assert asked.sides[False].count == 0


def test_a_vector_without_dependence_undoes_the_corrections_of_those_it_is_made_of() -> None:
    """The new direction is q = (y - L b)/len: y depends on no ζ, so E ∂q/∂ζ is what cancels that of b."""
    source, asked = Source(), matrix()
    x, y = source.normals(), source.normals()
    h = asked.ask("x", x, False, road="", follow=False, draw=source.fill)
    g = asked.ask("h", h, True, road="stein", follow=False, draw=source.fill)
    asked.ask("b", g + y, False, road="stein", follow=False, draw=source.fill)
    side = asked.sides[False]
    answered = asked.ask("y", y, False, road="", follow=False, draw=source.fill)
    derivative = (side.known["y"][:, None] @ asked.reused[False][:, : side.count, :1])[:, 0]
    torch.testing.assert_close(derivative, torch.zeros_like(derivative), rtol=0, atol=1e-12)
    assert asked.reused[False][:, 1, 0].abs().min() > 0.1, "b has a correction"
    assert answered.any()
