"""Lazy matrices as parameters: every spelling of a product, gradients of both orders, and steps."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lazy_twins import BATCH, CPU, IN, OUT, lazy, twins, unasked
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tpbench.weights import matrix as matrix_module
from tpbench.weights import outer as outer_module
from tpbench.weights.basis import Side
from tpbench.weights.matrix import LazyMatrix
from tpbench.weights.outer import OuterProducts

Normal = Callable[..., Tensor]
Agree = Callable[..., None]
Apply = Callable[[Tensor, Tensor], Tensor]


FORWARD: dict[str, Apply] = {
    "linear": lambda x, w: functional.linear(x, w),
    "linear by keywords": lambda x, w: functional.linear(input=x, weight=w),
    "linear with bias": lambda x, w: functional.linear(x, w, torch.arange(w.shape[0], device=CPU).double()),
    "@ T": lambda x, w: x @ w.T,
    "@ mT": lambda x, w: torch.matmul(x, w.mT),
    "@ t()": lambda x, w: x.matmul(w.t()),
    "transpose": lambda x, w: x @ w.transpose(0, 1),
    "torch.transpose": lambda x, w: x @ torch.transpose(w, -1, -2),
    "columns": lambda x, w: (w @ x.mT).mT if x.dim() > 1 else w @ x,
    "columns by matmul": lambda x, w: torch.matmul(w, x.mT).mT if x.dim() > 1 else torch.mv(w, x),
    "twice transposed": lambda x, w: functional.linear(x, w.T.T),
    "rows of the transpose": lambda x, w: (w.T.mT @ x[..., None])[..., 0],
}
BACKWARD: dict[str, Apply] = {
    "@": lambda y, w: y @ w,
    "matmul": lambda y, w: torch.matmul(y, w),
    "linear of T": lambda y, w: functional.linear(y, w.T),
    "columns of T": lambda y, w: (w.T @ y.mT).mT if y.dim() > 1 else w.T @ y,
}


@pytest.mark.parametrize("rows", [(), (BATCH,), (1, BATCH), (2, BATCH), (2, 1, BATCH)])
@pytest.mark.parametrize("name", FORWARD)
def test_every_spelling_of_a_product_is_the_dense_one(
    normal: Normal, agree: Agree, name: str, rows: tuple[int, ...]
) -> None:
    matrix, dense = twins()
    x = normal(*rows, IN)
    agree(FORWARD[name](x, matrix), FORWARD[name](x, dense), 1e-13)


@pytest.mark.parametrize("rows", [(), (BATCH,), (1, BATCH), (2, BATCH)])
@pytest.mark.parametrize("name", BACKWARD)
def test_every_spelling_of_a_transposed_product_is_the_dense_one(
    normal: Normal, agree: Agree, name: str, rows: tuple[int, ...]
) -> None:
    matrix, dense = twins()
    y = normal(*rows, OUT)
    agree(BACKWARD[name](y, matrix), BACKWARD[name](y, dense), 1e-13)


def test_mm_takes_matrices_and_no_rows_are_no_rows(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    y = normal(BATCH, OUT)
    agree(torch.mm(y, matrix), y.mm(dense), 1e-13)
    agree(y.mm(matrix), y.mm(dense), 1e-13)
    assert functional.linear(normal(0, IN), matrix).shape == (0, OUT)


def test_it_is_a_parameter_of_its_module() -> None:
    layer = nn.Linear(IN, OUT, dtype=torch.float64)
    matrix = layer.weight = lazy()
    assert isinstance(matrix, nn.Parameter)
    assert {id(parameter) for parameter in layer.parameters()} == {id(matrix), id(layer.bias)}
    assert sum(parameter.numel() for parameter in layer.parameters()) == OUT * IN + OUT
    assert (matrix.shape, matrix.size(0), matrix.dim(), matrix.ndim) == ((OUT, IN), OUT, 2, 2)
    assert (matrix.dtype, matrix.device, matrix.requires_grad, matrix.is_leaf) == (torch.float64, CPU, True, True)
    assert matrix.T.shape == (IN, OUT)
    assert repr(matrix) == f"{matrix}" == "LazyMatrix(shape=(5, 4), dtype=torch.float64, device='cpu')"
    assert layer.to(CPU).double() is layer  # moves that change nothing are allowed
    assert layer.weight is matrix
    assert not layer.requires_grad_(False).weight.requires_grad


def test_a_huge_one_takes_no_memory_until_it_is_asked() -> None:
    matrix = lazy((1 << 24, 1 << 24), std=2.0**-12, dtype=torch.float32, room=1)
    assert matrix.numel() == 1 << 48


@pytest.mark.parametrize("name", ["linear", "columns", "@ T"])
def test_gradients_of_both_orders_are_those_of_differences(normal: Normal, name: str) -> None:
    x = normal(BATCH, IN).requires_grad_()
    matrix = lazy()
    assert torch.autograd.gradcheck(lambda x: FORWARD[name](x, matrix), (x,))
    assert torch.autograd.gradgradcheck(lambda x: FORWARD[name](x, matrix).tanh(), (x,))
    y = normal(BATCH, OUT).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: y @ matrix, (y,))
    assert torch.autograd.gradgradcheck(lambda y: (y @ matrix).tanh(), (y,))


def test_gradcheck_notices_a_backward_pass_of_another_matrix(normal: Normal) -> None:
    """Plant: without the transpose correction Wᵀ g belongs to a matrix that is independent of the W of W x."""
    matrix = lazy(transpose_correction=False)
    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(lambda x: functional.linear(x, matrix), (normal(BATCH, IN).requires_grad_(),))


def uses(x: Tensor, w: Tensor) -> Tensor:
    """A scalar that takes the matrix forwards twice and transposed twice, in all spellings."""
    h = functional.linear(x, w).tanh()
    h = functional.linear((h @ w).sin(), w)
    return ((w.T @ h.mT).mT * x).tanh().square().sum()


def test_all_uses_of_a_matrix_and_all_backward_passes_add_up(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    for count in (1, 2):
        for w in (matrix, dense):
            uses(normal(BATCH, IN, seed=count), w).backward()
        assert isinstance(matrix.grad, OuterProducts)
        assert len(matrix.grad.factors) == 4 * count
        assert dense.grad is not None
        agree(matrix.grad.materialise(), dense.grad, 1e-13)
        agree(torch.linalg.vector_norm(matrix.grad), torch.linalg.vector_norm(dense.grad), 1e-13)


def test_a_forgotten_use_is_noticed(normal: Normal, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: of two gradients of one matrix only the first is kept."""
    matrix, dense = twins()
    for name in (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor):
        monkeypatch.setitem(outer_module._OPERATIONS, name, lambda one, two: one)
    for w in (matrix, dense):
        uses(normal(BATCH, IN), w).backward()
    with pytest.raises(AssertionError, match="differs by"):
        agree(matrix.grad.materialise(), dense.grad, 1e-3)


def test_a_transposed_pair_is_noticed(normal: Normal, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the factors of a transposed product in the order of a plain one."""
    monkeypatch.setattr(matrix_module, "outer", lambda left, right: outer_module.outer(right, left))
    matrix, dense = twins((4, 4))
    for w in (matrix, dense):
        (normal(BATCH, 4) @ w).tanh().sum().backward()
    with pytest.raises(AssertionError, match="differs by"):
        agree(matrix.grad.materialise(), dense.grad, 1e-3)


def test_asking_for_other_gradients_leaves_the_matrix_alone(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    x = normal(BATCH, IN).requires_grad_()
    ours, theirs = (torch.autograd.grad(uses(x, w), x)[0] for w in (matrix, dense))
    agree(ours, theirs, 1e-13)
    (of_matrix,) = torch.autograd.grad(uses(x, matrix), matrix)
    agree(of_matrix.materialise(), torch.autograd.grad(uses(x, dense), dense)[0], 1e-13)
    assert matrix.grad is None


def test_a_penalty_on_the_inputs_gradient_reaches_the_matrix(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    for w in (matrix, dense):
        x = normal(BATCH, IN).requires_grad_()
        value = uses(x, w)
        (pull,) = torch.autograd.grad(value, x, create_graph=True)
        (value + pull.square().sum()).backward()
    agree(matrix.grad.materialise(), dense.grad, 1e-12)


@pytest.mark.parametrize("norm", [torch.linalg.vector_norm, torch.norm, Tensor.norm])
def test_a_penalty_on_the_matrixs_own_gradient_can_be_differentiated(normal: Normal, agree: Agree, norm: Any) -> None:
    found = []
    for w in twins():
        x = normal(BATCH, IN).requires_grad_()
        (pull,) = torch.autograd.grad(uses(x, w), w, create_graph=True)
        of_w, of_x = torch.autograd.grad(norm(pull) ** 2, [w, x])
        found.append((of_w.materialise() if isinstance(of_w, OuterProducts) else of_w, of_x))
    for ours, theirs in zip(*found, strict=True):
        agree(ours, theirs, 1e-12)


def test_a_third_order_of_the_matrixs_gradient_is_an_error_not_a_zero(normal: Normal) -> None:
    matrix, x = lazy(), normal(BATCH, IN).requires_grad_()
    (pull,) = torch.autograd.grad(uses(x, matrix), matrix, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivative was asked for"):
        torch.autograd.grad(pull.norm(), x, create_graph=True)
    squares = torch.autograd.grad(uses(x, matrix), matrix, create_graph=True)[0] * 2.0
    with pytest.raises(RuntimeError, match="third derivative was asked for"):
        torch.autograd.grad(squares, x, grad_outputs=squares.detach(), create_graph=True)


@pytest.mark.parametrize("set_to_none", [False, True])
def test_zeroed_gradients_start_from_nothing(normal: Normal, agree: Agree, set_to_none: bool) -> None:
    layer = nn.Linear(IN, OUT, bias=False, dtype=torch.float64)
    matrix, dense = twins()
    layer.weight = matrix
    uses(normal(BATCH, IN, seed=3), matrix).backward()
    layer.zero_grad(set_to_none)
    assert (matrix.grad is None) == set_to_none
    for w in (matrix, dense):
        uses(normal(BATCH, IN), w).backward()
    agree(matrix.grad.materialise(), dense.grad, 1e-13)


def test_gradients_can_be_clipped_by_their_norm(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    norms = []
    for w in (matrix, dense):
        bias = nn.Parameter(normal(IN, seed=7))
        uses(normal(BATCH, IN) + bias, w).backward()
        norms.append(nn.utils.clip_grad_norm_([w, bias], 0.1))
    agree(*norms, 1e-13)
    agree(matrix.grad.materialise(), dense.grad, 1e-13)


def test_hooks_are_called_and_recomputation_changes_nothing(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    seen: list[Tensor] = []
    matrix.register_hook(seen.append)
    matrix.register_post_accumulate_grad_hook(lambda w: seen.append(w))
    for w in (matrix, dense):
        x = normal(BATCH, IN).requires_grad_()
        checkpoint(uses, x, w, use_reentrant=False).backward()
    agree(matrix.grad.materialise(), dense.grad, 1e-13)
    assert isinstance(seen[0], OuterProducts)
    assert seen[1] is matrix


def test_a_frozen_matrix_passes_gradients_on(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    matrix.requires_grad_(False)
    pulls = []
    for w in (matrix, dense):
        x = normal(BATCH, IN).requires_grad_()
        uses(x, w).backward()
        pulls.append(x.grad)
    agree(*pulls, 1e-13)
    assert matrix.grad is None
    with torch.no_grad():
        assert not functional.linear(normal(1, IN), lazy()).requires_grad


def train(
    w: LazyMatrix | nn.Parameter, normal: Normal, *, momentum: float, decay: float, steps: int = 5
) -> list[float]:
    """Train on ``uses`` with a fresh batch a step, gradients of two batches in each, and clipping."""
    dense = None if isinstance(w, LazyMatrix) else torch.optim.SGD([w], lr=0.1, momentum=momentum, weight_decay=decay)
    losses = []
    for step in range(steps):
        w.grad = None
        for part in (0, 1):
            loss = uses(normal(BATCH, IN, seed=20 * step + part), w)
            loss.backward()
            losses.append(loss.item())
        nn.utils.clip_grad_norm_(w, 1.0)
        if isinstance(w, LazyMatrix):
            w.step_(rate=0.1, momentum=momentum, decay=decay)
        elif dense is not None:
            dense.step()
    return losses


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(("momentum", "decay"), list(itertools.product((0.0, 0.9), (0.0, 0.3))))
def test_steps_are_those_of_torchs_sgd(
    normal: Normal, agree: Agree, momentum: float, decay: float, asked: bool
) -> None:
    """With the answers drawn while training, too: the entries that the matrix started with are found afterwards."""
    matrix = lazy((12, IN))
    dense = nn.Parameter(matrix.materialise()) if asked else None
    ours = train(matrix, normal, momentum=momentum, decay=decay)
    dense = unasked(matrix) if dense is None else dense
    start = dense.detach().clone()
    agree(
        torch.tensor(ours, device=CPU), torch.tensor(train(dense, normal, momentum=momentum, decay=decay), device=CPU)
    )
    agree(matrix.materialise(), dense)
    assert float((dense.detach() - start).abs().max()) > 0.05


def test_the_twin_notices_a_missing_transpose_correction(normal: Normal, agree: Agree) -> None:
    matrix = lazy((12, IN), transpose_correction=False)
    ours = train(matrix, normal, momentum=0.0, decay=0.0)
    theirs = train(unasked(matrix), normal, momentum=0.0, decay=0.0)
    with pytest.raises(AssertionError, match="differs by"):
        agree(torch.tensor(ours, device=CPU), torch.tensor(theirs, device=CPU), 1e-3)


def test_without_a_gradient_nothing_is_stepped(normal: Normal, agree: Agree) -> None:
    matrix, dense = twins()
    matrix.step_(rate=1.0, momentum=0.9, decay=0.5)
    agree(matrix.materialise(), dense, 0.0)
    functional.linear(normal(BATCH, IN), matrix).sum().backward()
    assert matrix.grad is not None
    matrix.grad.zero_()
    matrix.step_(rate=1.0, decay=0.5)  # a gradient of zero is one: the weights decay
    agree(matrix.materialise(), dense.detach() / 2, 1e-13)


def test_one_product_and_one_step_ask_the_engine_once_a_side(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine looks a vector up by the very tensor that was asked: a copy would cost a second look-up."""
    found: list[int] = []
    find = Side.find
    monkeypatch.setattr(Side, "find", lambda side, x: found.append(0) or find(side, x))
    matrix = lazy((64, 64))
    for step in (1, 2):
        matrix.grad = None
        x = normal(BATCH, 64, seed=step).requires_grad_()
        functional.linear(x, matrix).tanh().sum().backward()
        matrix.step_(rate=0.1)
        assert len(found) == 2 * step


def test_what_changed_between_the_passes_is_an_error(normal: Normal) -> None:
    matrix, x = lazy(), normal(BATCH, IN)
    y = functional.linear(x, matrix).sum()
    x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    y, z = uses(x, matrix), uses(x, matrix)
    y.backward()
    matrix.step_(rate=0.1)
    with pytest.raises(RuntimeError, match="stepped between a product and its backward pass"):
        z.backward()


def test_what_is_changed_after_the_backward_pass_changes_no_gradient(normal: Normal, agree: Agree) -> None:
    """The inputs may be a parameter, or a buffer for the next minibatch; the pulled gradient may be that of a bias."""
    matrix, dense = twins()
    for w in (matrix, dense):
        x, bias = normal(IN), nn.Parameter(normal(OUT, seed=1))
        y = functional.linear(x, w, bias)
        y.retain_grad()
        y.tanh().sum().backward()
        assert bias.grad is not None
        assert y.grad is not None
        with torch.no_grad():
            for tensor in (x, bias.grad, y.grad):
                tensor.zero_()
    agree(matrix.grad.materialise(), dense.grad, 1e-13)


def test_the_result_of_a_product_can_be_changed_in_place(normal: Normal, agree: Agree) -> None:
    for dims in ((BATCH, IN), (1, BATCH, IN)):
        found = []
        for w in twins():
            x = normal(*dims).requires_grad_()
            functional.linear(x, w).relu_().sum().backward()
            found.append(x.grad)
        agree(*found, 1e-13)


def test_nothing_is_kept_alive_by_cycles(normal: Normal) -> None:
    gc.disable()
    try:
        matrix, x = lazy(), normal(BATCH, IN).requires_grad_()
        uses(x, matrix).backward()
        matrix.grad.norm()
        matrix.step_(rate=0.1)
        engine = weakref.ref(matrix.weights)
        del matrix
        assert engine() is None
    finally:
        gc.enable()


def test_products_and_steps_run_where_tensors_have_no_values() -> None:
    matrix = lazy((8, 8), device=torch.device("meta"), dtype=torch.float32)
    x = torch.zeros(BATCH, 8, device="meta", requires_grad=True)
    functional.linear(x, matrix).tanh().matmul(matrix).sum().backward()
    matrix.step_(rate=0.1, momentum=0.9, decay=0.1)
    assert x.grad is not None
    assert x.grad.device.type == matrix.device.type == "meta"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the comparison of devices was NOT made")
def test_training_on_cuda_agrees_with_the_cpu() -> None:
    found = []
    for device in (CPU, torch.device("cuda")):
        source = torch.Generator(device="cpu").manual_seed(0)
        x = torch.randn(BATCH, 16, generator=source, dtype=torch.float64, device="cpu").to(device)
        matrix = lazy((16, 16), device=device)
        for _ in range(4):
            matrix.grad = None
            uses(x, matrix).backward()
            matrix.step_(rate=0.1, momentum=0.9)
        found.append(functional.linear(x, matrix).detach().cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)
