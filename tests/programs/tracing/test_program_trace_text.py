"""Programs of traced code do not depend on how they were traced, are small, and say what the code does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traced_models import CPU, DOUBLE, MODELS, Model, Perceptron, inputs, trained

from tpbench.programs import limit, sample, show, trace
from tpbench.programs.tracing.numbers import Monomial, Shifted, exactly, fit, fit_shifted

X, Y = inputs()
WIDTHS = (8, 12, 20)


@pytest.mark.parametrize("name", MODELS)
def test_the_program_does_not_depend_on_widths_nor_on_the_seed(name: str) -> None:
    texts = {
        show(trace(MODELS[name], trained(), **options))
        for options in ({}, {}, {"seed": 5}, {"widths": (6, 9, 14)}, {"widths": (30, 10, 16, 24)})
    }
    assert len(texts) == 1


def test_tracing_leaves_the_global_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    trace(Perceptron, trained(1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_linear_layer_reads_like_one() -> None:
    program = trace(Model, lambda model: (model.hidden(model.read_in(X[:1])) ** 2).mean())
    lines = [line.split("  ")[0] for line in show(program).splitlines()]
    a, b = (f"{value:.6g}" for value in X[0].abs().tolist())
    assert lines == [
        "program in NETSOR",
        "read_in.weight[0] ~ N(0, 1)",
        "read_in.weight[1] ~ N(0, 1)",
        "hidden.weight ~ N(0, 1/n)",
        f"x1 = {a} read_in.weight[0] + {b} read_in.weight[1]",
        "g1 = hidden.weight x1",
        "x2 = g1^2",
        "out = ⟨x2⟩",
        "output out",
    ]


def test_vectors_and_several_widths() -> None:
    def make(n: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(2, 2 * n, bias=False), nn.Tanh(), nn.Linear(2 * n, n, bias=False))
        for layer in model.to(DOUBLE):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        return model

    program = trace(make, lambda model: {"h": model(X), "second": model(X).square().mean(-1)})
    (matrix,) = program.matrices.values()
    assert (matrix.rows.ratio, matrix.columns.ratio, matrix.variance) == (Fraction(1), Fraction(2), Fraction(1))
    assert program.widths["h[1]"].ratio == 1
    found = sample(program, 40, 50)
    assert found["h[1]"].shape == (50, 40)
    torch.testing.assert_close(found["h[1]"].square().mean(1), found["second[1]"])


def test_the_example_of_the_documentation_in_single_precision() -> None:
    x, y = (value.float() for value in inputs())

    def make(n: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(2, n), nn.Tanh(), nn.Linear(n, n), nn.Tanh(), nn.Linear(n, 1))
        nn.init.normal_(model.get_parameter("4.weight"), std=1 / n)
        return model

    def run(model: nn.Module) -> dict[str, Tensor]:
        assert isinstance(model, nn.Sequential)
        n = len(model.get_parameter("2.bias"))
        rates = (0.1 * n, 0.1, 0.1 / n)
        optimizer = torch.optim.SGD(
            {"params": m.parameters(), "lr": r} for m, r in zip([*model][::2], rates, strict=True)
        )
        for _ in range(2):
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"f": model(x), "loss": loss}

    program = trace(make, run)
    assert program.outputs == ("f[0,0]", "f[1,0]", "f[2,0]", "loss")
    assert "2.weight ~ N(0, (1/3)/n)" in show(program)


def test_weights_of_one_seed_are_one_matrix() -> None:
    def make(seeds: tuple[int, int]) -> Callable[[int], nn.Module]:
        def model(n: int) -> nn.Module:
            source = torch.Generator(device=CPU)
            drawn = [
                torch.randn(n, n, generator=source.manual_seed(seed), dtype=DOUBLE, device=CPU) / math.sqrt(n)
                for seed in seeds
            ]
            return nn.ParameterList([torch.randn(n, dtype=DOUBLE, device=CPU), *drawn])

        return model

    def run(model: nn.Module) -> Tensor:
        v, one, other = model.parameters()
        return (one @ v * (other @ v)).mean()

    for seeds, overlap in (((3, 3), 1.0), ((3, 4), 0.0)):
        assert limit(trace(make(seeds), run), method="exact").scalars["out"].mean == overlap


def test_a_linear_network_has_an_exact_limit() -> None:
    """One step on f = v·(W u x): rational numbers in, rational limit out."""

    def run(model: nn.Module) -> dict[str, Tensor]:
        assert isinstance(model, Model)
        x = torch.tensor([[1.0, 0.5]], dtype=DOUBLE, device=CPU)
        groups = [{"params": [p], "lr": 0.25 * model.rates()[name]} for name, p in model.named_parameters()]
        optimizer = torch.optim.SGD(groups)
        model.read_out(model.hidden(model.read_in(x))).sub(1).square().sum().backward()
        optimizer.step()
        return {"f": model.read_out(model.hidden(model.read_in(x)))[0, 0]}

    solved = limit(trace(Model, run), method="exact").scalars["f"]
    # f_0 → 0, and with c = 2/4, h = u x, s = |x|²: v + c W h, W + c v hᵀ/n, u + c Wᵀ v xᵀ. In f each of the three
    # updates gives c s: E (W h)² = s, ⟨h h⟩ = s, and v·W Wᵀ v/n → 1 (the term Ż of using W both ways).
    assert solved.exact == 3 * Fraction(1, 2) * Fraction(5, 4)


def test_ten_steps_of_two_hidden_layers_stay_small() -> None:
    """Instructions grow with (steps × examples)²: every update is an inner product with every later vector."""
    program = trace(Perceptron, trained(10))
    counts = Counter(type(binding).__name__ for binding in program.bindings)
    assert counts["MatMul"] == 3 * (11 + 10)
    assert counts["GaussianMatrix"] == 1
    assert len(program.bindings) < 2_500


# --- operations ----------------------------------------------------------------------------------------------------

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    **{
        name: getattr(functional, name)
        for name in (
            *("relu", "gelu", "silu", "softplus", "leaky_relu", "elu", "selu", "hardtanh", "mish", "logsigmoid"),
            *("hardswish", "relu6", "tanhshrink", "softsign"),
        )
    },
    **{name: getattr(torch, name) for name in ("sigmoid", "erf", "sin", "cos", "abs", "atan", "square", "expm1")},
    "tanh gelu": lambda h: functional.gelu(h, approximate="tanh"),
    "power": lambda h: (1 + h.abs()) ** 1.5 / 3,
    "cube": lambda h: h.pow(3) / 9,
    "roots": lambda h: torch.sqrt(1 + h * h) + torch.rsqrt(1 + h * h) - 1 / (1 + h.square()),
    "log of exp": lambda h: torch.log(1 + torch.exp(h)) - math.log(2),
    "where": lambda h: torch.where((h > 0) | (h <= -1), h, 0.1 * h),
    "clamp": lambda h: h.clamp(-1, 2) + h.clamp(min=0),
    "larger": lambda h: torch.maximum(h, -h / 2) - torch.max(h, h / 3),
    "in place": lambda h: h.clone().mul_(0.5).add_(1.0).relu_().mul(2),
    "root mean square": lambda h: h / h.square().mean(-1, keepdim=True).sqrt(),
    "unit length": lambda h: functional.normalize(h, dim=-1) * math.sqrt(h.shape[-1]),
    "unbiased": lambda h: (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + 0.1),
    "layer norm": lambda h: functional.layer_norm(h, h.shape[-1:]),
    "rms norm": lambda h: functional.rms_norm(h, h.shape[-1:]),
    "batch norm": lambda h: functional.batch_norm(h, None, None, training=True),
    "attention": lambda h: torch.softmax(h @ h.T / h.shape[-1], -1) @ h,
    "scaled attention": lambda h: functional.scaled_dot_product_attention(
        h[None], h[None], h[None], scale=1 / h.shape[-1]
    )[0],
    "dropout": lambda h: functional.dropout(h, 0.3),
    "stack": lambda h: torch.stack([h, -h]).transpose(0, 1).reshape(2, 3, -1)[0].flip(0),
    "split": lambda h: torch.cat([part.tanh() for part in torch.split(h, [1, 2])][::-1]),
    "einsum": lambda h: torch.einsum("bi,ci,cj->bj", h, h, h) / h.shape[-1],
    "gather": lambda h: (
        h[torch.tensor([2, 0, 2], device=CPU)] + h.roll(1, 0) + h.index_select(0, torch.tensor([1, 1, 0], device=CPU))
    ),
    "outer": lambda h: torch.outer(h[0], h[1]) @ h[2] / h.shape[-1] + h,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_and_their_derivatives_repeat_the_code(name: str) -> None:
    """Tracing replays the program on PyTorch's draws, at every width, and raises where it is not the code."""

    def run(model: nn.Module) -> dict[str, Tensor]:
        assert isinstance(model, Model)
        rates = model.rates()
        groups = [{"params": [p], "lr": 0.05 * rates[k]} for k, p in model.named_parameters()]
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        asked = {}
        for step in range(2):
            optimizer.zero_grad()
            h = FUNCTIONS[name](model.hidden(torch.tanh(model.read_in(X))))
            asked[f"loss{step}"] = functional.mse_loss(model.read_out(h), Y)
            asked[f"loss{step}"].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return asked

    assert len(trace(Model, run).outputs) == 2


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "cross entropy": lambda f: functional.cross_entropy(f, torch.tensor([0, 2, 1], device=CPU)),
    "smooth labels": lambda f: functional.cross_entropy(f, torch.tensor([0, 2, 1], device=CPU), label_smoothing=0.1),
    "huber": lambda f: functional.huber_loss(f, Y.expand(3, 3)),
    "absolute": lambda f: functional.l1_loss(f, Y.expand(3, 3)),
    "binary": lambda f: functional.binary_cross_entropy_with_logits(f, (Y > 0).to(DOUBLE).expand(3, 3)),
    "decay": lambda f: f.square().mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_repeat_the_code(name: str) -> None:
    def run(model: nn.Module) -> Tensor:
        assert isinstance(model, Model)
        rates = model.rates()
        groups = [
            {"params": [p], "lr": 0.1 * rates[k], "weight_decay": 0.1 / rates[k]} for k, p in model.named_parameters()
        ]
        optimizer = torch.optim.SGD(groups, momentum=0.5)
        for _ in range(2):
            optimizer.zero_grad()
            loss = LOSSES[name](model.read_out(torch.tanh(model.hidden(model.read_in(X)))))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return loss

    assert trace(lambda n: Model(n, outputs=3, bias=True), run).outputs == ("out",)


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", ["0", "1/2", "-1", "-3/2", "1/3", "2"])
@pytest.mark.parametrize("number", [1.0, -3.0, 0.1, 2 / 3])
def test_monomials_are_recognised(number: float, power: str) -> None:
    p = Fraction(power)
    found = fit([number * n ** float(p) for n in WIDTHS], WIDTHS)
    assert found is not None
    assert found.power == p
    assert float(found.number) == pytest.approx(number, rel=1e-12)


def test_numbers_that_are_no_monomials_are_not_taken_for_one() -> None:
    assert fit([math.log(n) for n in WIDTHS], WIDTHS) is None
    assert fit([n - 1 for n in WIDTHS], WIDTHS) is None
    assert fit([1.0, -1.0, 1.0], WIDTHS) is None
    assert fit_shifted([math.log(n) for n in WIDTHS], WIDTHS) is None
    assert fit_shifted([2 / (n - 1) for n in WIDTHS], WIDTHS) == Shifted(Fraction(2), Fraction(-1), Fraction(1), True)
    assert fit_shifted([3 * n + 1 for n in WIDTHS], WIDTHS) == Shifted(Fraction(3), Fraction(1), Fraction(-1, 3), False)
    assert fit([5, 5, 5], WIDTHS) == Monomial(Fraction(5))
    assert exactly(0.375) == Fraction(3, 8)
    assert isinstance(exactly(0.1), float)
