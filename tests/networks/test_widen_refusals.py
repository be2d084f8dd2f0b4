"""What cannot be widened, and what widened models cannot do: why, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from wide_models import BASE, CPU, WIDTH, Normal, mlp, train, widened

from tpbench.networks.widen import widen
from tpbench.weights.innovations import MonteCarlo


class Holding(nn.Module):
    """A module with one odd thing in it, made from the width."""

    def __init__(self, **odd: Any) -> None:
        super().__init__()
        for name, value in odd.items():
            setattr(self, name, value)


def with_buffer(width: int) -> nn.Module:
    model = Holding(lin=nn.Linear(width, width))
    model.register_buffer("table", torch.arange(width, device=CPU))
    return model


def tied_to_the_readout(width: int) -> nn.Module:
    model = Holding(embedding=nn.Embedding(7, width), out=nn.Linear(width, 7))
    model.out.weight = model.embedding.weight
    return model


FACTORIES: dict[str, tuple[Callable[[int], Any], dict[str, Any], str]] = {
    "width": (mlp, {"width": 0}, "a width is at least 1: got width 0"),
    "base width": (mlp, {"base_width": 0}, "a width is at least 1.*base width 0"),
    "bfloat16": (mlp, {"dtype": torch.bfloat16}, "dtype= is torch.bfloat16.*say dtype=torch.float32"),
    "float16": (mlp, {"dtype": torch.float16}, "dtype= is torch.float16.*or dtype=torch.float64"),
    "low model": (lambda width: mlp(width).bfloat16(), {}, "2.weight is torch.bfloat16.*say dtype=torch.float32"),
    "no module": (lambda width: width, {}, "the factory returned 16 for width 16, not a torch module"),
    "moves": (lambda width: mlp(width).to("cpu"), {}, "fails at width 32 on torch's meta device.*widen's device="),
    "parametrization": (mlp, {"parametrization": "mupp"}, "did you mean 'mup'"),
    "no hidden": (mlp, {"parametrization": "mean-field"}, "defines no hidden weights"),
    "seeds": (mlp, {"innovations": MonteCarlo([0, 1])}, "these innovations are for 2: give one seed"),
    "no growth": (lambda width: nn.Linear(3, 3), {}, "no parameter of the model grows.*give a factory that uses"),
    "joined": (
        lambda width: nn.Linear(width + 5, width),
        {},
        "axis 1 of weight has 21, 37 and 69.*Split what it joins",
    ),
    "axes": (
        lambda width: Holding(w=nn.Parameter(torch.ones([width] * (width // 16 % 3 + 1)))),
        {},
        "keep its number of axes",
    ),
    "names": (
        lambda width: Holding(**{f"lin{width}": nn.Linear(width, width)}),
        {},
        "lin16.bias.* at some widths only: it must build one architecture",
    ),
    "convolution": (lambda width: nn.Conv1d(width, width, 3), {}, "only matrices can be lazy: use nn.Linear layers"),
    "plain matrix": (
        lambda width: Holding(u=nn.Parameter(torch.randn(3, width))),
        {},
        'does not tell whether it writes to the neurons or reads from them: say roles={"u": "input"}',
    ),
    "tied": (tied_to_the_readout, {}, "out.weight .output. and embedding.weight .input. are one tensor.*untie them"),
    "RNN": (lambda width: nn.RNN(3, width), {}, "RNN, whose kernel needs all entries.*nn.Linear, a step at a time"),
    "cell": (lambda width: nn.GRUCell(3, width), {}, "GRUCell, whose kernel needs all entries"),
    "attention": (lambda width: nn.MultiheadAttention(width, 2), {}, "MultiheadAttention, whose kernel"),
    "buffer": (with_buffer, {}, "the buffer table grows with the width and is not constant.*compute it in forward"),
    "tensor": (
        lambda width: Holding(lin=nn.Linear(width, width), mask=torch.ones(width)),
        {},
        "mask of Holding is a tensor that torch does not know.*register_buffer",
    ),
    "identity": (
        lambda width: Holding(w=nn.Parameter(torch.eye(width))),
        {},
        r"entries of w are not centred.*initialise it so, or say stds=\{\"w\"",
    ),
    "stds": (mlp, {"stds": {"0.wieght": 1.0}}, "stds names '0.wieght', and there is no such.*did you mean '0.weight'"),
    "constant stds": (mlp, {"stds": {"4.bias": 1.0}}, "no such parameter that grows"),
    "negative": (mlp, {"stds": {"0.weight": -1.0}}, "a standard deviation is at least 0"),
    "roles": (mlp, {"roles": {"5.bias": "input"}}, "roles names '5.bias', and there is no such parameter"),
    "role": (mlp, {"roles": {"0.bias": "inputs"}}, "gives 0.bias the role 'inputs'; did you mean 'input'"),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_what_cannot_be_widened_says_why_and_what_to_do(name: str) -> None:
    model, options, words = FACTORIES[name]
    kind = TypeError if name == "no module" else ValueError
    with pytest.raises(kind, match=f"(?s){words}"):
        widen(model, **{"width": WIDTH, "base_width": BASE, **options})


INSTANCES: dict[str, tuple[Callable[[], Any], str]] = {
    "attribute": (lambda: Holding(lin=nn.Linear(3, BASE), size=BASE), "size of the model .Holding. is the base width"),
    "shape": (lambda: Holding(lin=nn.Linear(3, BASE), sizes=(1, BASE)), "sizes of the model .Holding. is the base"),
    "other module": (lambda: nn.BatchNorm1d(BASE), "num_features of the model .BatchNorm1d. is the base width"),
    "inside": (lambda: nn.Sequential(nn.Conv1d(2, BASE, 1)), "out_channels of 0 .Conv1d."),
    "tensor": (lambda: Holding(mask=torch.ones(BASE)), "mask of the model .Holding."),
    "multiple": (lambda: nn.Linear(BASE, 4 * BASE), "whether a multiple of the base width 16 grows.*cannot be seen"),
    "none": (lambda: nn.Linear(3, 5), "no parameter of the model grows with its width"),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_a_module_whose_sizes_cannot_be_seen_asks_for_a_factory(name: str) -> None:
    model, words = INSTANCES[name]
    with pytest.raises(ValueError, match=f"(?s){words}.*give a factory"):
        widen(model(), width=WIDTH, base_width=BASE)


@pytest.mark.parametrize("size", [1e3, "64", None])
def test_a_width_is_a_whole_number(size: Any) -> None:
    with pytest.raises(TypeError, match=r"^width is a whole number.*got .*say width=int"):
        widen(mlp, width=size)
    if size is not None:
        with pytest.raises(TypeError, match=r"^base_width is a whole number.*got .*say base_width=int"):
            widen(mlp, width=WIDTH, base_width=size)


def test_a_module_needs_its_width_and_a_model_must_be_one() -> None:
    with pytest.raises(ValueError, match="a module was given without its width: say base_width="):
        widen(mlp(BASE), width=WIDTH)
    with pytest.raises(TypeError, match="a torch module or a function of the width that returns one, got 3"):
        widen(3, width=WIDTH)


def test_what_a_wide_model_cannot_do_names_the_remedy(normal: Normal) -> None:
    wide = widened(mlp)
    with pytest.raises(TypeError, match=r"state_dict calls it.*rebuild the model with tpbench\.widen.*materialise\(\)"):
        wide.model.state_dict()
    with pytest.raises(TypeError, match=r"Adam was to step a lazy matrix; nothing has been changed.*full rank"):
        train(wide.model, torch.optim.Adam(wide.model.parameters()), normal)
    with pytest.raises(TypeError, match=r"to was asked.*give dtype= and device="):
        wide.model.to(torch.float32)
    recurrent = widened(lambda width: Holding(lin=nn.Linear(width, width), scale=1.0)).model
    with pytest.raises(ValueError, match=r"got \(1, 1, 16"):
        recurrent.lin(normal(1, BASE))
    wide.model.add_module("more", nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"more\.weight was added to the model after widening"):
        wide.sgd(0.1)
