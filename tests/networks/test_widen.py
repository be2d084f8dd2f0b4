"""Widened models: step for step their dense twins, reproducible, and plain PyTorch in all else."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from wide_models import (
    BASE,
    CPU,
    INPUTS,
    OUTPUTS,
    WIDTH,
    BothWays,
    Model,
    Normal,
    Recurrent,
    Residual,
    mlp,
    train,
    widened,
)

from tpbench.networks import widen as widen_module
from tpbench.networks.wide_sgd import WideSGD
from tpbench.networks.widen import Wide, widen
from tpbench.parametrization import Role
from tpbench.weights import outer as outer_module
from tpbench.weights.innovations import Sobol
from tpbench.weights.matrix import LazyMatrix

Agree = Callable[..., None]
MODELS: dict[str, Model] = {"mlp": mlp, "residual": Residual, "recurrent": Recurrent, "both ways": BothWays}


def entries(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every dense parameter."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if not isinstance(p, LazyMatrix)}


def initial(wide: Wide, start: dict[str, Tensor]) -> nn.Module:
    """Return a dense copy of a wide model as it was before training, with these dense parameters.

    The entries of lazy matrices are found afterwards: the present ones less all updates.
    """
    plain = wide.materialise()
    for name, parameter in wide.model.named_parameters():
        of_plain = plain.get_parameter(name).data
        if isinstance(parameter, LazyMatrix):
            eye = torch.eye(parameter.shape[1], dtype=parameter.dtype, device=CPU)[None]
            of_plain -= parameter.weights.update_matmul(eye)[0].mT
        else:
            of_plain.copy_(start[name])
    return plain


RATES = {"input": 4.0, "hidden": 1.0, "output": 0.25, "output_bias": 1.0}  # muP at 4 base widths, worked out by hand


def torch_sgd(plain: nn.Module, wide: Wide, lr: float, momentum: float, decay: float) -> torch.optim.SGD:
    rates = {part.name: RATES[part.role] for part in wide.parts}
    groups = [
        {"params": [parameter], "lr": lr * rates[name], "weight_decay": decay / rates[name]}
        for name, parameter in plain.named_parameters()
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum)


def compare_with_dense(
    agree: Agree, normal: Normal, model: Model, momentum: float = 0.9, decay: float = 0.1, *, asked: bool = True
) -> None:
    """Train a wide model, and with torch.optim.SGD a dense twin of the same entries, over the same minibatches.

    With ``asked`` the lazy matrices have been asked for all of themselves before; else they draw while training.
    """
    wide = widened(model)
    start = entries(wide.model)
    before = wide.materialise() if asked else None
    ours = train(wide.model, wide.sgd(0.05, momentum=momentum, weight_decay=decay), normal)
    plain = initial(wide, start) if before is None else before
    theirs = train(plain, torch_sgd(plain, wide, 0.05, momentum, decay), normal)
    agree(ours, theirs, 1e-9)
    for one, two in zip(wide.materialise().parameters(), plain.parameters(), strict=True):
        agree(one, two, 1e-9)
    assert float(ours.max() - ours.min()) > 0.1


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
@pytest.mark.parametrize("name", MODELS)
def test_a_wide_model_trains_step_for_step_as_its_dense_twin(
    agree: Agree, normal: Normal, name: str, momentum: float, decay: float, asked: bool
) -> None:
    compare_with_dense(agree, normal, MODELS[name], momentum, decay, asked=asked)


@pytest.mark.parametrize("name", ["recurrent", "both ways"])
def test_the_twin_notices_a_forgotten_use_of_a_matrix(
    agree: Agree, normal: Normal, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plant: the second gradient of one matrix is dropped where autograd adds it to the first."""
    aten = torch.ops.aten
    for operation in (aten.add.Tensor, aten.add_.Tensor):
        monkeypatch.setitem(outer_module._OPERATIONS, operation, lambda one, two: one)
    with pytest.raises(AssertionError, match="differs by"):
        compare_with_dense(agree, normal, MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_the_twin_notices_a_missing_transpose_correction(
    agree: Agree, normal: Normal, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tpbench.networks import wide_law
    from tpbench.weights.lazy import LazyGaussian

    monkeypatch.setattr(wide_law, "LazyGaussian", lambda *a, **k: LazyGaussian(*a, **k, transpose_correction=False))
    with pytest.raises(AssertionError, match="differs by"):
        compare_with_dense(agree, normal, MODELS[name], asked=False)


def test_the_twin_notices_rates_without_the_width(
    agree: Agree, normal: Normal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RATES, "input", 1.0)
    with pytest.raises(AssertionError, match="differs by"):
        compare_with_dense(agree, normal, mlp)


def test_constants_stay_constants_and_what_does_not_grow_keeps_its_values() -> None:
    class Mixed(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.front = nn.Conv1d(2, 3, 1)
            self.grown = nn.Conv1d(3, width, 1)
            self.norm = nn.BatchNorm1d(width)
            self.hidden = nn.Linear(width, width, bias=False)
            self.gate = nn.Parameter(2 + 0.1 * torch.randn(width))
            self.vocabulary = nn.Embedding(7, width)
            self.frozen = nn.Parameter(torch.zeros(width), requires_grad=False)
            self.register_buffer("table", torch.arange(3.0))

    wide = widened(Mixed, seed=5)
    model, again, other = (
        m.model.requires_grad_(False) for m in (wide, widened(Mixed, 32, seed=5), widened(Mixed, seed=6))
    )
    assert torch.equal(model.front.weight, again.front.weight)
    assert not torch.equal(model.front.weight, other.front.weight)
    assert (model.norm.weight == 1).all()
    assert model.norm.running_var.shape == (WIDTH,)
    assert (model.norm.running_var == 1).all()
    assert model.norm.num_batches_tracked.dtype == torch.int64
    assert model.table.tolist() == [0, 1, 2]
    assert model.table.dtype == torch.float64
    assert not widened(Mixed).model.frozen.requires_grad
    assert float(model.gate.mean()) == pytest.approx(2.0, abs=0.06)
    assert float(model.gate.std()) == pytest.approx(0.1, rel=0.3)
    roles = {part.name: (part.role, part.lazy) for part in wide.parts}
    assert roles["front.weight"] == (Role.OUTPUT_BIAS, False)
    assert roles["grown.weight"] == roles["vocabulary.weight"] == roles["gate"] == (Role.INPUT, False)
    assert roles["hidden.weight"] == (Role.HIDDEN, True)


def test_draws_depend_on_the_seed_alone_and_leave_torchs_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = widened(mlp, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other, sobol = widened(mlp, seed=3), widened(mlp, seed=4), widened(mlp, innovations=Sobol([3]))
    x = torch.ones(2, INPUTS, dtype=torch.float64, device=CPU)
    assert torch.equal(one.model(x), same.model(x))
    assert not torch.equal(one.model(x), other.model(x))
    assert not torch.equal(one.model(x), sobol.model(x))


def test_a_module_of_known_width_is_widened_as_its_factory(agree: Agree, normal: Normal) -> None:
    given = mlp(BASE)
    kept = copy.deepcopy(given.state_dict())
    stds = {name: 0.1 for name, _ in given.named_parameters() if name != "4.bias"}
    models = [widened(model, stds=stds).model for model in (given, mlp)]
    for model in models:
        nn.init.zeros_(model[4].bias)
    x = normal(3, INPUTS)
    assert torch.equal(models[0](x), models[1](x))
    assert all(torch.equal(value, kept[name]) for name, value in given.state_dict().items())
    assert repr(models[0]) == repr(models[1])
    norm = widened(nn.Sequential(nn.Embedding(3, BASE), nn.LayerNorm(BASE), nn.Linear(BASE, BASE)))
    assert norm.model(torch.zeros(1, dtype=torch.int64, device=CPU)).shape == (1, WIDTH)
    recurrent = widened(Recurrent(BASE))
    assert recurrent.model.recurrent.weight is recurrent.model.again.weight
    assert recurrent.model(x).shape == (3, OUTPUTS)


@pytest.mark.parametrize("model", [Residual, Recurrent])
def test_width_65536_trains_in_seconds(normal: Normal, model: Model) -> None:
    wide = widen(model, width=2**16, seed=1)
    losses = train(wide.model, wide.sgd(0.02, momentum=0.5), normal, steps=4)
    assert losses.isfinite().all()
    assert losses[-1] != losses[0]
    assert sum(p.numel() for p in wide.model.parameters()) > 2**32


def test_the_dense_copy_is_a_plain_model_of_its_own(agree: Agree, normal: Normal) -> None:
    wide = widened(Recurrent)
    wide.model.recurrent.weight.requires_grad_(False)
    train(wide.model, wide.sgd(0.05), normal, 2)
    plain = wide.materialise()
    assert plain.recurrent.weight is plain.again.weight
    assert {type(parameter) for parameter in plain.parameters()} == {nn.Parameter}
    assert not plain.recurrent.weight.requires_grad
    x = normal(3, INPUTS)
    agree(plain(x), wide.model(x), 1e-12)
    fresh = Recurrent(WIDTH).double()
    fresh.load_state_dict(plain.state_dict())
    nn.init.zeros_(plain.out.weight)
    agree(fresh(x), wide.model(x), 1e-12)


def test_gradients_are_clipped_as_those_of_the_dense_copy(agree: Agree, normal: Normal) -> None:
    wide = widened(Residual)
    norms = []
    for model in (wide.model, wide.materialise()):
        model(normal(4, INPUTS)).square().sum().backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    agree(*norms, 1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_wide_model_trains_where_tensors_have_no_values(name: str) -> None:
    wide = widened(MODELS[name], device="meta")
    optimizer, x = wide.sgd(0.1, momentum=0.9, weight_decay=0.1), torch.zeros(3, INPUTS, device="meta").double()
    for _ in range(2):
        optimizer.zero_grad()
        wide.model(x).square().mean().backward()
        optimizer.step()
    assert {parameter.device.type for parameter in wide.model.parameters()} == {"meta"}


def test_the_example_of_the_documentation_runs() -> None:
    code = textwrap.dedent((widen_module.__doc__ or "").split("::\n", 1)[1])
    assert "width=2**20" in code
    scope: dict[str, Any] = {}
    exec(code.replace("2**20", "2**12"), scope)
    assert scope["wide"].width == 2**12
    assert isinstance(scope["optimizer"], WideSGD)
    assert float(scope["loss"].detach()) < 0.7


def test_the_package_offers_widen_and_imports_torch_only_then() -> None:
    code = (
        "import sys, tpbench\n"
        "assert 'torch' not in sys.modules\n"
        "from tpbench import widen\n"
        "assert widen is tpbench.widen and 'torch' in sys.modules\n"
        "try:\n    tpbench.wide\n"
        "except AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'tpbench' has no attribute 'wide'\n"
