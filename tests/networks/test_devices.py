"""Devices: training on ``meta`` reads no value, every tensor names its device, CUDA agrees with the CPU."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tpbench
from tpbench.networks.activation import ACTIVATIONS
from tpbench.networks.loss import LOSSES, loss
from tpbench.networks.measure import movements, tangent_kernel
from tpbench.networks.mlp import Mlp, backward, buffers, forward, initialise
from tpbench.networks.train import Sgd, Task, batches, step_, train
from tpbench.parametrization import named

META = torch.device("meta")
SOURCE = Path(tpbench.__file__).parent
CREATORS = {
    *("empty", "zeros", "ones", "full", "eye", "arange", "linspace", "logspace", "rand", "randn", "randint"),
    *("randperm", "tensor", "as_tensor", "normal", "empty_strided", "tril_indices", "triu_indices", "Generator"),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_a_whole_training_runs_where_tensors_have_no_values(name: str, bias: bool) -> None:
    mlp = Mlp(5, 3, 16, 2, "relu", bias)
    for batch, momentum, centred in itertools.product((None, 4), (0.0, 0.9), (False, True)):
        ensemble = initialise(mlp, named("mup"), [0, 1], device=META, dtype=torch.float32, keep_initial=True)
        x, y = torch.zeros(12, 5, device=META), torch.zeros(12, 3, device=META)
        start = forward(ensemble, x)
        task = Task(x, y, start.output if centred else None)
        sgd = Sgd(0.1, momentum, 0.01, batch, name)
        assert len(list(train(ensemble, task, sgd, batches(12, batch, 3, 0)))) == 4
        assert forward(ensemble, x).output.shape == (2, 12, 3)
        assert all(layer.weights.current.device.type == "meta" for layer in ensemble.layers)


@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_forward_loss_backward_and_step_stay_on_the_device(phi: str) -> None:
    ensemble = initialise(Mlp(5, 3, 16, 2, phi, bias=True), named("mup"), [0, 1], device=META, dtype=torch.float64)
    x, y = torch.zeros(12, 5, device=META).double(), torch.zeros(12, 3, device=META).double()
    trace = forward(ensemble, x, into=buffers(ensemble, x))
    value, pull = loss("mse").value(trace.output, y), loss("mse").gradient(trace.output, y)
    gradients = backward(ensemble, trace, pull)
    step_(ensemble, trace, gradients, Sgd(0.1, 0.9, 0.01))
    for tensor in (value, pull, trace.output, *trace.preactivations, *trace.activations, *gradients):
        assert tensor.device.type == "meta"
        assert tensor.dtype == torch.float64
    assert tangent_kernel(ensemble, x).device.type == "meta"


def test_reading_a_value_on_meta_is_noticed() -> None:
    """Plant: a measurement reads values, so the device refuses it; the tests above can fail."""
    ensemble = initialise(Mlp(5, 3, 16, 1), named("mup"), [0], device=META, dtype=torch.float32, keep_initial=True)
    start = forward(ensemble, torch.zeros(12, 5, device=META))
    with pytest.raises((NotImplementedError, RuntimeError)):
        next(iter(movements(ensemble, start, start))).values.tolist()


def without_device(source: str, where: str) -> Iterator[str]:
    """Yield the calls of torch's creating functions that do not name a device."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
        named = "device" in {word.arg for word in node.keywords} or (node.func.attr == "Generator" and node.args)
        if of_torch and node.func.attr in CREATORS and not named:
            yield f"{where}:{node.lineno}: torch.{node.func.attr}"


def aliases(source: str) -> set[str]:
    """Return the creating functions that a file imports by name, which the search above would miss."""
    imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {name.name for node in imported if node.module == "torch" for name in node.names} & CREATORS


def test_every_tensor_is_created_with_its_device() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 20
    found = [line for path in files for line in without_device(path.read_text("utf-8"), str(path.relative_to(SOURCE)))]
    assert found == []
    assert [path.name for path in files if aliases(path.read_text("utf-8"))] == []


def test_the_search_finds_what_it_looks_for() -> None:
    source = "import torch\nfrom torch import Tensor, zeros\nx = torch.zeros(3)\ny = torch.ones(3, device=x.device)\n"
    assert list(without_device(source + "z = f(torch.tensor([1]))\n", "a")) == ["a:3: torch.zeros", "a:5: torch.tensor"]
    assert aliases(source) == {"zeros"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the comparison of devices was NOT made")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss_name", LOSSES)
def test_training_on_cuda_agrees_with_the_cpu(loss_name: str, bias: bool) -> None:
    mlp, outputs = Mlp(5, 3, 64, 2, "tanh", bias), []
    source = torch.Generator(device="cpu").manual_seed(0)
    x, y = (torch.randn(12, size, generator=source, dtype=torch.float64, device="cpu") for size in (5, 3))
    for device in (torch.device("cpu"), torch.device("cuda")):
        ensemble = initialise(mlp, named("mup"), [0, 1], device=device, dtype=torch.float64)
        task = Task(x.to(device), y.to(device))
        list(train(ensemble, task, Sgd(0.1, 0.9, 0.01, 4, loss_name), batches(12, 4, 6, 0)))
        outputs.append(forward(ensemble, task.inputs).output.cpu())
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-11)
