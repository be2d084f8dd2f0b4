"""Is a function one of coordinates? Found by evaluating it, not trusted.

A function of coordinates gives for a neuron what it gives for that neuron alone, whoever else is there and how many;
the same each time; and leaves its arguments as they are. It is asked for small, middling and large values, with scalars
of both signs and above 0, since a mean may hide behind a threshold and a root of a negative scalar is no answer at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tpbench.programs.instructions import Function

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NEURONS, SEEDS = 128, 2
SIZES = (1.0, 0.1, 10.0)
HUGE = 1e3
"""What two neurons are set to, with either sign, to see whether the others notice."""
SAMPLE = 5
AGREE = 1e-9
ROUNDINGS = 64
_FOUND: WeakKeyDictionary[Function, set[tuple[int, int]]] = WeakKeyDictionary()
"""With how many vectors and scalars a function was found to be one of coordinates."""


def check_function(function: Function, vectors: int, scalars: int, named: str) -> None:
    """Raise ``ValueError`` unless a function is one of coordinates of so many arguments; errors call it ``named``."""
    found = _FOUND.setdefault(function, set())
    if (vectors, scalars) not in found:
        _check(function, vectors, scalars, named)
        found.add((vectors, scalars))


def _check(function: Function, vectors: int, scalars: int, named: str) -> None:
    import torch

    cpu = torch.device("cpu")
    draw = torch.Generator(device=cpu).manual_seed(20)
    answered = False
    for size in SIZES:
        for positive in (False, True) if scalars else (False,):
            x = [_normal(draw, SEEDS, NEURONS) * size for _ in range(vectors)]
            c = [_normal(draw, SEEDS, 1) * size for _ in range(scalars)]
            c = [each.abs() for each in c] if positive else c
            whole = _whole(function, x, c, named)
            _check_alone(function, whole, x, c, named, draw)
            answered = answered or bool(whole.isfinite().any())
    if not answered:
        raise ValueError(
            f"{named} gave no finite value for arguments of size {', '.join(f'{size:g}' for size in SIZES)}, so that "
            "nobody can see whether it is one of coordinates: scale its arguments"
        )


def _whole(function: Function, x: Sequence[Tensor], c: Sequence[Tensor], named: str) -> Tensor:
    """Return the values for all neurons, (seed, neuron) or (seed, 1), after looking at their shape."""
    import torch

    before = [each.clone() for each in (*x, *c)]
    whole = _evaluated(function, [*x, *c], len(x), named)
    if any(not torch.equal(was, each) for was, each in zip(before, (*x, *c), strict=True)):
        raise ValueError(f"{named} changes its arguments in place, and other instructions read them")
    shape = (SEEDS, NEURONS if x else 1)
    # A constant is a function of coordinates, too; whoever runs the program broadcasts it.
    if whole.shape != shape and whole.numel() != 1 and whole.shape != (SEEDS, 1):
        raise ValueError(
            f"{named} gave a value of shape {tuple(whole.shape)} for vectors of shape {shape}: it must keep their shape"
        )
    whole = whole.expand(shape)
    _agree(
        _evaluated(function, [*x, *c], len(x), named).expand(shape),
        whole,
        "gives another value when it is asked again",
        named,
    )
    return whole


def _check_alone(
    function: Function, whole: Tensor, x: Sequence[Tensor], c: Sequence[Tensor], named: str, draw: torch.Generator
) -> None:
    """Compare with every neuron as a seed of its own, all of them and a few; then with two neurons made huge."""
    import torch

    rows = [each.reshape(-1, 1) for each in x]
    rows += [each.expand(SEEDS, whole.shape[1]).reshape(-1, 1) for each in c]
    wanted = whole.reshape(-1, 1)
    some = torch.randint(len(wanted), (SAMPLE,), generator=draw, device=wanted.device)
    mixes = "mixes coordinates or axes: some neurons alone give other values than among others"
    for chosen in (slice(None), some):
        alone = _evaluated(function, [row[chosen] for row in rows], len(x), named)
        _agree(alone.expand(wanted[chosen].shape), wanted[chosen], mixes, named)
    moved = [each.clone() for each in x]
    for each in moved:
        each[:, :2] = torch.tensor([HUGE, -HUGE], dtype=each.dtype, device=each.device)
    others = _evaluated(function, [*moved, *c], len(x), named).expand(whole.shape)
    _agree(others[:, 2:], whole[:, 2:], mixes, named)


def _normal(draw: torch.Generator, *shape: int) -> Tensor:
    import torch

    return torch.randn(shape, generator=draw, dtype=torch.float64, device=draw.device)


def _agree(found: Tensor, wanted: Tensor, what: str, named: str) -> None:
    import torch

    rounding = ROUNDINGS * torch.finfo(torch.float64).eps
    if not torch.allclose(found, wanted, rtol=AGREE, atol=rounding, equal_nan=True):
        raise ValueError(
            f"{named} {what}; a function of a program is one of coordinates, the same for all: write means over "
            "neurons as moments, and draw random vectors as initial ones"
        )


def _evaluated(function: Function, arguments: Sequence[Tensor], vectors: int, named: str) -> Tensor:
    import torch

    try:
        value = function.call(*arguments)
    except Exception as error:
        raise ValueError(
            f"{named} failed on {vectors} vectors and {len(arguments) - vectors} scalars, given in that order as "
            f"tensors: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, torch.Tensor | int | float):
        raise ValueError(f"{named} gave {type(value).__name__}, and a tensor is needed")
    return torch.as_tensor(value, dtype=torch.float64, device=torch.device("cpu"))
