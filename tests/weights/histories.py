"""Random histories of a matrix: queries with every kind of dependence that a conditional draw must survive, and steps.

``play`` puts one to a lazy matrix; ``check_replay`` and ``check_laws`` hold what it answered against one dense matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from tpbench.weights.lazy import LazyGaussian

CPU = torch.device("cpu")
Row = tuple[str, int]
"""A kind of vector and a number from 1 to 14, the exponent of how near it is to another."""


@dataclass
class Asked:
    """The vectors asked of one side, (seed, size) each, and the random numbers for the next ones."""

    seeds: int
    size: int
    dtype: torch.dtype
    source: torch.Generator
    rows: list[Tensor] = field(default_factory=list)

    def normal(self) -> Tensor:
        drawn = torch.randn(self.seeds, self.size, generator=self.source, dtype=torch.float64, device=CPU)
        return drawn / torch.linalg.vector_norm(drawn, dim=1, keepdim=True)

    def old(self) -> Tensor:
        at = torch.randint(max(1, len(self.rows)), (), generator=self.source, device=CPU)
        return self.rows[int(at)] if self.rows else self.normal()

    def block(self, kinds: Sequence[Row]) -> Tensor:
        """Return the next vectors, (seed, batch, size)."""
        found = []
        for kind, exponent in kinds:
            row = KINDS[kind](self, exponent).to(self.dtype)
            found.append(row)
            if kind not in EXTREME:
                self.rows.append(row.to(torch.float64))
        return torch.stack(found, dim=1)

    def extreme(self) -> float:
        return 1e150 if self.dtype == torch.float64 else 1e25


def _uneven(asked: Asked, _: int) -> Tensor:
    """Return an old vector for every second seed and a new one for the others: their ranks become different."""
    new, old = asked.normal(), asked.old()
    return torch.where((torch.arange(asked.seeds, device=CPU) % 2 == 0)[:, None], old, new)


KINDS: dict[str, Callable[[Asked, int], Tensor]] = {
    "fresh": lambda asked, _: asked.normal(),
    "relu": lambda asked, _: asked.normal().clamp_min(0) * 2**0.5,
    "repeat": lambda asked, _: asked.old(),
    "scaled": lambda asked, _: -1.7 * asked.old(),
    "sum": lambda asked, _: (asked.old() - 0.6 * asked.old() + 0.3 * asked.old()) / 2,
    "near": lambda asked, exponent: asked.old() + 10.0**-exponent * asked.normal(),
    "uneven": _uneven,
    "zero": lambda asked, _: torch.zeros(asked.seeds, asked.size, dtype=torch.float64, device=CPU),
    "tiny": lambda asked, _: asked.normal() / asked.extreme(),
    "huge": lambda asked, _: asked.normal() * asked.extreme(),
}
EXTREME = ("zero", "tiny", "huge")
MODERATE = tuple(kind for kind in KINDS if kind not in EXTREME)


def blocks(kinds: Sequence[str] = tuple(KINDS), most: int = 4) -> st.SearchStrategy[list[Row]]:
    """Return blocks of 1 to ``most`` vectors."""
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(1, 14)), min_size=1, max_size=most)


ROUNDINGS = 2048
"""Error of an answer in roundings, relative to |x| std sqrt(n): four times what counts as known already."""


def tolerance(dtype: torch.dtype) -> float:
    return ROUNDINGS * torch.finfo(dtype).eps


def length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.double(), dim=-1)


def initial(weights: LazyGaussian) -> Tensor:
    """Return W_0 in float64, by asking for all of it: the present matrix less what the updates added."""
    like = weights.materialise()
    eye = torch.eye(like.shape[2], dtype=like.dtype, device=CPU).expand(len(like), -1, -1)
    return (like - weights.update_matmul(eye).mT).double()


@dataclass(frozen=True)
class Sgd:
    rate: float = 0.2
    momentum: float = 0.0
    decay: float = 0.0


@dataclass(frozen=True)
class Record:
    """One event: ``asked`` of a side with its answer, or a step with y and x."""

    kind: str
    asked: Tensor
    answer: Tensor


Event = tuple[str, Sequence[Any]]
SIDES = st.sampled_from(["right", "left"])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.tuples(SIDES, blocks()),
    st.tuples(
        st.just("step"),
        st.lists(st.tuples(*[st.tuples(st.sampled_from(MODERATE), st.integers(1, 14))] * 2), min_size=1, max_size=3),
    ),
)

NEW, UNEVEN = ("fresh", 1), ("uneven", 1)
RICH: list[Event] = [
    ("right", [NEW]),
    ("left", [NEW, ("relu", 1)]),
    ("step", [(NEW, NEW)]),
    ("right", [UNEVEN, ("near", 7)]),
    ("step", [(UNEVEN, ("repeat", 1)), (("near", 3), UNEVEN)]),
    ("left", [UNEVEN, UNEVEN]),
    ("right", [NEW, NEW, ("huge", 1)]),
    ("step", [(NEW, NEW)]),
    ("right", [NEW, ("tiny", 1)]),
]
"""Every kind of query, ranks that differ between seeds, and steps between them."""

GENERIC: list[Event] = [
    ("right", [NEW, ("near", 2), ("relu", 1)]),
    ("left", [NEW, ("sum", 1)]),
    ("step", [(NEW, NEW)]),
    ("right", [("near", 1), NEW]),
    ("step", [(("near", 3), ("repeat", 1))]),
    ("left", [NEW, ("near", 1)]),
]
"""Ranks that are the same for all seeds."""

ALTERNATING: list[Event] = [("right", [UNEVEN] * 4), ("right", [NEW] * 3), ("left", [UNEVEN] * 5), ("left", [NEW] * 4)]
"""Now some seeds ask for something new and now others, as often as a 6 × 5 matrix can answer."""


def play(weights: LazyGaussian, events: Sequence[Event], seed: int, sgd: Sgd, std: float) -> list[Record]:
    seeds, out, into = weights.shape
    dtype = weights._right.basis.dtype
    source = torch.Generator(device=CPU).manual_seed(seed)
    right, left = (Asked(seeds, size, dtype, source) for size in (into, out))
    records = []
    for kind, rows in events:
        if kind == "step":
            y, x = left.block([pair[0] for pair in rows]), right.block([pair[1] for pair in rows])
            weights.step_(y, x, scale=std, rate=sgd.rate, momentum=sgd.momentum, decay=sgd.decay)
            records.append(Record(kind, y, x))
        else:
            vectors = (right if kind == "right" else left).block(rows)
            kept = vectors.clone()
            answer = weights.matmul(vectors) if kind == "right" else weights.transposed_matmul(vectors)
            assert torch.equal(vectors, kept), "a query is the caller's"
            records.append(Record(kind, vectors, answer))
    return records


def replay(start: Tensor, records: Sequence[Record], sgd: Sgd, std: float) -> tuple[list[Tensor], Tensor]:
    """Return what a dense matrix that torch.optim.SGD updates would have answered, and what it becomes."""
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([parameter], lr=sgd.rate, momentum=sgd.momentum, weight_decay=sgd.decay)
    answers = []
    for record in records:
        one = record.asked.double()
        if record.kind == "step":
            optimizer.zero_grad()
            (std * torch.einsum("sbo,soi,sbi->", one, parameter, record.answer.double())).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        else:
            spelled = "soi,sbi->sbo" if record.kind == "right" else "soi,sbo->sbi"
            answers.append(torch.einsum(spelled, parameter.detach(), one))
    return answers, parameter.detach()


def worst(actual: Tensor, expected: Tensor, scale: Tensor | float) -> float:
    """Return the largest error of a row over its scale, a NaN counting as infinite."""
    assert actual.shape == expected.shape
    error = torch.linalg.vector_norm(actual.double() - expected, dim=-1) / scale
    return float(error.nan_to_num(nan=torch.inf).max()) if error.numel() else 0.0


def check_replay(weights: LazyGaussian, records: Sequence[Record], sgd: Sgd, std: float) -> None:
    asked = [record for record in records if record.kind != "step"]
    dtype = records[0].asked.dtype
    size = std * max(weights.shape[1:]) ** 0.5
    expected, present = replay(initial(weights), records, sgd, std)
    for record, answer in zip(asked, expected, strict=True):
        assert worst(record.answer, answer, size * length(record.asked).clamp_min(1e-300)) <= tolerance(dtype)
    assert worst(weights.materialise(), present, size) <= tolerance(dtype)


def queries(weights: LazyGaussian, records: Sequence[Record], kind: str) -> Tensor:
    """Return everything that was asked of a side, as unit vectors, (seed, batch, size)."""
    seeds, out, into = weights.shape
    found = [torch.zeros(seeds, 1, into if kind == "right" else out, dtype=records[0].asked.dtype, device=CPU)]
    for record in records:
        if record.kind == "step":
            found.append(record.answer if kind == "right" else record.asked)
        elif record.kind == kind:
            found.append(record.asked)
    together = torch.cat(found, dim=1).double()
    return (together / length(together).clamp_min(1e-300)[:, :, None]).to(records[0].asked.dtype)


def drawn(weights: LazyGaussian) -> list[int]:
    return [weights._innovations.drawn(axis) for axis in ("out", "in")]


def check_laws(weights: LazyGaussian, records: Sequence[Record], std: float) -> None:
    """Adjointness, linearity, and that nothing of what was asked is drawn again."""
    size = std * max(weights.shape[1:]) ** 0.5
    bound, before = tolerance(records[0].asked.dtype), drawn(weights)
    x, y = (queries(weights, records, kind) for kind in ("right", "left"))
    wx, wy = weights.matmul(x).double(), weights.transposed_matmul(y).double()
    assert float((y.double() @ wx.mT - wy @ x.double().mT).abs().max()) <= bound * size
    assert worst(weights.matmul(x.clone()), wx, size) <= bound
    assert worst(weights.transposed_matmul(y.clone()), wy, size) <= bound
    assert drawn(weights) == before
    assert worst(weights.matmul(0.6 * x - 0.8 * x.flip(1)), 0.6 * wx - 0.8 * wx.flip(1), size) <= bound
    assert worst(weights.transposed_matmul(0.6 * y - 0.8 * y.flip(1)), 0.6 * wy - 0.8 * wy.flip(1), size) <= bound
