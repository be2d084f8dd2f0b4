"""What lazy matrices refuse: each with the words that name the remedy, and before anything has been changed."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lazy_twins import BATCH, CPU, IN, OUT, lazy
from torch import Tensor, nn
from torch.nn import functional

from tpbench.weights.matrix import LazyMatrix

Normal = Callable[..., Tensor]
Agree = Callable[..., None]
LINEAR = {"in_features": IN, "out_features": OUT, "bias": False, "dtype": torch.float64}
PRODUCTS, ENTRIES, STATE = "write it with x @ W", "use it in products", "same seed, and train it again"
SURGERY, MOVE = "set their size with stds=", "give dtype= and device="
ROWS = torch.zeros(2, IN, dtype=torch.float64, device=CPU)
REFUSED: dict[str, tuple[Callable[[LazyMatrix], Any], str, str]] = {
    "data": (lambda w: w.data, "data was asked", STATE),
    "set data": (lambda w: setattr(w, "data", torch.zeros(OUT, IN, device=CPU)), "data= was asked", SURGERY),
    "detach": (lambda w: w.detach(), "detach", STATE),
    "clone": (lambda w: w.clone(), "clone", STATE),
    "state_dict": (lambda w: holding(w).state_dict(), "state_dict calls it", STATE),
    "deepcopy": (lambda w: copy.deepcopy(holding(w)), "copy.deepcopy", STATE),
    "pickle": (lambda w: pickle.dumps(holding(w)), "pickling", STATE),
    "save": (lambda w: torch.save(holding(w), io.BytesIO()), "pickling", STATE),
    "share memory": (lambda w: holding(w).share_memory(), "share_memory_", STATE),
    "normal": (lambda w: nn.init.normal_(w), "normal_", SURGERY),
    "xavier": (lambda w: nn.init.xavier_uniform_(w), "uniform_", SURGERY),
    "zeros": (lambda w: nn.init.zeros_(w), "zero_", SURGERY),
    "reset": (lambda w: holding(w).reset_parameters(), "uniform_", SURGERY),
    "add_": (lambda w: w.add_(1.0), "add_", SURGERY),
    "copy_": (lambda w: w.copy_(torch.zeros(OUT, IN, device=CPU)), "copy_", SURGERY),
    "+=": (lambda w: w.__iadd__(1.0), r"\+=", SURGERY),
    "assign": (lambda w: w.__setitem__(0, 1.0), "__setitem__", SURGERY),
    "index": (lambda w: w[0], "__getitem__", ENTRIES),
    "item": (lambda w: w.item(), "item", ENTRIES),
    "float": (lambda w: float(w), "__float__", ENTRIES),
    "+": (lambda w: w + w, r"\+", ENTRIES),
    "number *": (lambda w: 2.0 * w, r"\*", ENTRIES),
    "tensor -": (lambda w: torch.zeros(OUT, IN, device=CPU) - w, "-", ENTRIES),
    "sum": (lambda w: w.sum(), "sum", ENTRIES),
    "penalty": (lambda w: (w**2).sum(), r"\*\*", "there is weight_decay="),
    "norm": (lambda w: w.norm(), "norm", ENTRIES),
    "reshape": (lambda w: w.reshape(-1), "reshape", ENTRIES),
    "vector": (lambda w: nn.utils.parameters_to_vector([w]), "view", ENTRIES),
    "stack": (lambda w: torch.stack([w, w]), "stack", ENTRIES),
    "iterate": (lambda w: list(w), "unbind", ENTRIES),
    "numpy": (lambda w: w.numpy(), "numpy", ENTRIES),
    "einsum": (lambda w: torch.einsum("bi,oi->bo", torch.zeros(1, IN, device=CPU), w), "einsum", PRODUCTS),
    "addmm": (lambda w: torch.addmm(w, w, w), "addmm", PRODUCTS),
    "embedding": (lambda w: functional.embedding(torch.zeros(1, dtype=torch.int64), w), "embedding", PRODUCTS),
    "Adagrad": (lambda w: torch.optim.Adagrad([w]), "full_like", "a WideSGD"),
    "float32": (lambda w: holding(w).float(), "float", MOVE),
    "to": (lambda w: holding(w).to(torch.bfloat16), "to was", MOVE),
    "meta": (lambda w: holding(w).to("meta"), "to was", MOVE),
    "product": (lambda w: w @ w.T, "product of two lazy matrices", r"V @ \(W @ x\)"),
    "out": (lambda w: torch.matmul(ROWS, w.T, out=torch.zeros(2, OUT, device=CPU)), "out= was given", "leave it out"),
    "mm out": (lambda w: torch.mm(w, ROWS.T, out=torch.zeros(OUT, 2, device=CPU)), "out= was given", "leave it out"),
    "as x": (lambda w: functional.linear(w, torch.zeros(2, IN, device=CPU)), "place of x", ENTRIES),
    "axes": (lambda w: w.transpose(0, 0), "two axes to exchange", r"got \(0, 0\)"),
    "below autograd": (lambda w: disabled(torch.exp, w), "aten.exp", ENTRIES),
}


def disabled(func: Callable[..., Any], *args: Any) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args)


def holding(matrix: LazyMatrix) -> nn.Linear:
    layer = nn.Linear(**LINEAR)
    layer.weight = matrix
    return layer


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_entries_is_refused_with_the_remedy(name: str) -> None:
    ask, what, remedy = REFUSED[name]
    with torch.no_grad(), pytest.raises(TypeError, match=f"(?s){what}.*{remedy}"):
        ask(lazy())


def test_loading_a_state_names_the_remedy() -> None:
    with pytest.raises(RuntimeError, match=f"copy_ was asked of a lazy matrix.*{SURGERY}"):
        holding(lazy()).load_state_dict(nn.Linear(**LINEAR).state_dict())


OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
}
WHY = {"SGD": "sum of outer products"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_other_optimizers_are_stopped_before_they_change_anything(normal: Normal, agree: Agree, name: str) -> None:
    first, matrix = nn.Parameter(normal(IN)), lazy()
    (functional.linear(normal(BATCH, IN) + first, matrix).tanh().sum()).backward()
    optimizer = OPTIMIZERS[name]([first, matrix])
    before, entries = first.detach().clone(), matrix.materialise()
    with pytest.raises(TypeError, match=f"{name} was to step.*{WHY.get(name, 'full rank')}.*WideSGD.*dense model"):
        optimizer.step()
    assert torch.equal(first, before)
    agree(matrix.materialise(), entries, 1e-14)
    assert not optimizer.state


def test_other_optimizers_may_hold_a_frozen_one(normal: Normal) -> None:
    first, matrix = nn.Parameter(normal(IN)), lazy().requires_grad_(False)
    functional.linear(normal(BATCH, IN) + first, matrix).tanh().sum().backward()
    before = first.detach().clone()
    torch.optim.Adam([first, matrix], lr=0.1).step()
    assert not torch.equal(first, before)


def test_what_does_not_fit_says_so(normal: Normal) -> None:
    with pytest.raises(ValueError, match="these weights are 2: give their innovations one seed"):
        lazy(seeds=2)
    with pytest.raises(ValueError, match=rf"x of shape \(1, batch, {IN}\), got \(1, {BATCH}, {OUT}\)"):
        functional.linear(normal(BATCH, OUT), lazy())
    with pytest.raises(ValueError, match=r"float64 on cpu, the vector torch\.float32 on cpu"):
        functional.linear(normal(BATCH, IN).float(), lazy())
    matrix = lazy()
    matrix.grad = torch.zeros(OUT, IN, dtype=torch.float64, device=CPU)
    with pytest.raises(TypeError, match=r"a dense tensor was put there: .*or set \.grad to None"):
        matrix.step_(rate=0.1)


def test_low_precision_says_how_to_avoid_it(normal: Normal) -> None:
    matrix = lazy(dtype=torch.float32)
    layer = nn.Linear(IN, IN, device=CPU)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ValueError, match=r"float32 on cpu, the vector torch\.bfloat16.*without torch\.autocast"),
    ):
        functional.linear(layer(normal(BATCH, IN).float()), matrix)


def test_clipping_many_at_once_says_how_to_clip(normal: Normal) -> None:
    matrix = lazy()
    functional.linear(normal(BATCH, IN), matrix).tanh().sum().backward()
    with pytest.raises(TypeError, match=r"_foreach_norm.*give foreach=False"):
        nn.utils.clip_grad_norm_([matrix], 0.1, foreach=True)
    nn.utils.clip_grad_norm_([matrix], 0.1, foreach=False)
