"""Every way to use a parameter: measured in one call, and by formulas written by hand on a twin's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mup
import pytest
import torch
from by_hand import CPU, WIDTHS, Hand, expected, has, histories, layer, normal, numbers, rms, trained, value
from torch import Tensor, nn
from torch.nn import functional

from tpbench.check.measure import measure
from tpbench.check.measurements import Measurements, Place

STEPS = 3
X = normal(10, 5)
Y = normal(10, 3, seed=1)
TOKENS = numbers(7, 2, 6)
LABELS = numbers(7, 2, 6, seed=1)
IMAGES = normal(3, 2, 6, 6)
LABELLED = numbers(3, 3, seed=2)
FIRST, LAST = WIDTHS


class Written(nn.Module):
    """Three matrices, Gaussian with fan-in variance, and a forward pass that a test writes."""

    def __init__(self, width: int, forward: Callable[[Any, Tensor], Tensor], bias: bool = False) -> None:
        super().__init__()
        self.width = width
        self.A = nn.Parameter(torch.randn(5, width, device=CPU) / 5**0.5)
        self.B = nn.Parameter(torch.randn(width, width, device=CPU) / width**0.5)
        self.C = nn.Parameter(torch.randn(width, 3, device=CPU) / width)
        if bias:
            self.b = nn.Parameter(torch.randn(width, device=CPU))
        self.written = forward

    def forward(self, x: Tensor) -> Tensor:
        """Return what the test wrote."""
        return self.written(self, x)


def written(forward: Callable[[Any, Tensor], Tensor], bias: bool = False) -> Callable[[int], tuple[Any, ...]]:
    return lambda width: trained(Written(width, forward, bias), (X, Y))


def first(P: Mapping[str, Tensor]) -> Tensor:
    return torch.tanh(X @ P["A"])


def second(P: Mapping[str, Tensor]) -> Tensor:
    return torch.tanh(first(P) @ P["B"])


PLAIN = {
    "A": Hand(lambda P: X, lambda P, x: x @ P["A"]),
    "B": Hand(first, lambda P, x: x @ P["B"]),
    "C": Hand(second, lambda P, x: x @ P["C"]),
}

WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "operator": lambda m, x: torch.tanh(torch.tanh(x @ m.A) @ m.B) @ m.C,
    "matmul": lambda m, x: torch.matmul(torch.tanh(torch.tanh(x.matmul(m.A)).mm(m.B)), m.C),
    "linear": lambda m, x: functional.linear(torch.tanh(functional.linear(torch.tanh(x @ m.A), m.B.T)), m.C.mT),
    "left": lambda m, x: (m.C.T @ torch.tanh(m.B.t() @ torch.tanh(m.A.transpose(0, 1) @ x.T))).T,
    "einsum": lambda m, x: torch.einsum(
        "bi,io->bo", torch.tanh(torch.einsum("io,bi->bo", m.B, torch.tanh(torch.einsum("bi,io", x, m.A)))), m.C
    ),
    "addmm": lambda m, x: torch.addmm(
        torch.zeros(3, dtype=x.dtype, device=x.device), torch.tanh(torch.tanh(x @ m.A) @ m.B), m.C
    ),
    "views": lambda m, x: torch.tanh(torch.tanh(x @ m.A.contiguous()) @ m.B.view(-1).view_as(m.B)) @ m.C[:, :],
    "chunks": lambda m, x: (
        torch.tanh(torch.tanh(x @ m.A) @ torch.cat([part * 2 / 2 for part in m.B.chunk(2, -1)], -1))
        @ m.C.reshape(m.width, 3)
    ),
    "batched": lambda m, x: torch.bmm(torch.tanh(torch.tanh(x @ m.A) @ m.B)[None], m.C[None])[0],
    "convolution": lambda m, x: (
        torch.tanh(functional.conv1d(torch.tanh(x @ m.A)[..., None], m.B.T[..., None])[..., 0]) @ m.C
    ),
}


def check_hand(factory: Any, hands: Mapping[str, Hand], measured: Measurements, tolerance: float = 1e-10) -> None:
    kept = histories(factory, LAST, STEPS)
    for name, hand in hands.items():
        for step in (0, 1, STEPS):
            for quantity, wanted in expected(hand, kept, step).items():
                if quantity == "initial-weight-on-change" and wanted == 0:
                    assert not has(measured, name, quantity)
                    continue
                found = value(measured, name, quantity, step)
                assert found == pytest.approx(wanted, rel=tolerance), f"{quantity} of {name} at step {step}"
                assert wanted > 1e-6, "the test proves nothing"
        assert value(measured, name, "input", 0) == pytest.approx(rms(hand.x(kept[0])), rel=tolerance)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_a_product_gives_the_numbers_of_the_formulas(way: str) -> None:
    factory = written(WAYS[way])
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert [(one.name, one.place) for one in measured.layers] == [
        ("A", Place.INPUT),
        ("B", Place.HIDDEN),
        ("C", Place.OUTPUT),
    ]
    check_hand(factory, PLAIN, measured)


def test_a_weight_that_is_one_row_reads_out_one_number() -> None:
    class Row(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.read = nn.Linear(5, width, bias=False)
            self.row = nn.Parameter(torch.randn(width, device=CPU))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(torch.tanh(self.read(x)), self.row)

    def factory(width: int) -> tuple[Any, ...]:
        return trained(Row(width), (X, Y[:, 0]))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert layer(measured, "row").place is Place.OUTPUT
    check_hand(
        factory, {"row": Hand(lambda P: torch.tanh(X @ P["read.weight"].T), lambda P, x: x @ P["row"])}, measured
    )


def test_a_layer_of_many_neurons_is_measured_on_some_of_them() -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)), (X, Y))

    wide = 1100
    measured = measure(factory, widths=(8, wide), seeds=1, steps=STEPS)
    first, last = (history["0.weight"] for history in (histories(factory, wide, STEPS)[at] for at in (0, STEPS)))
    assert value(measured, "0", "preactivation", 0, wide) == pytest.approx(rms(X @ first[::2].T), rel=1e-10)
    moved = X @ (last - first)[::2].T
    assert value(measured, "0", "weight-update", STEPS, wide) == pytest.approx(rms(moved), rel=1e-8)


def test_a_product_by_another_matrix_is_noticed() -> None:
    factory = written(WAYS["operator"])
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    wrong = {"B": Hand(first, lambda P, x: x @ P["B"].T)}
    with pytest.raises(AssertionError, match="of B at step"):
        check_hand(factory, wrong, measured)


MULTIPLIED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "weight": lambda m, x: torch.tanh(torch.tanh(x @ m.A) @ m.B) @ (m.C * (4 / m.width)),
    "weight over": lambda m, x: torch.tanh(torch.tanh(x @ m.A) @ m.B) @ (4 * m.C.T / m.width).T,
    "output": lambda m, x: torch.tanh(torch.tanh(x @ m.A) @ m.B) @ m.C * 4 / m.width,
    "reshaped": lambda m, x: 4 * (torch.tanh(torch.tanh(x @ m.A) @ m.B) @ m.C).view(-1).reshape(10, 3) / m.width,
    "in place": lambda m, x: (torch.tanh(torch.tanh(x @ m.A) @ m.B) @ m.C).mul_(4 / m.width),
    "tensor": lambda m, x: torch.tanh(torch.tanh(x @ m.A) @ m.B) @ m.C * torch.tensor(4 / m.width, device=CPU),
}


@pytest.mark.parametrize("way", MULTIPLIED)
def test_a_constant_multiplier_is_a_part_of_the_layer_wherever_it_is_written(way: str) -> None:
    factory = written(MULTIPLIED[way])
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    hands = {**PLAIN, "C": Hand(second, lambda P, x: x @ P["C"] * 4 / LAST)}
    check_hand(factory, hands, measured)


def test_the_multiplier_of_a_readouts_input_is_not_the_earlier_layers() -> None:
    class Readout(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input / self.in_features)

    def factory(width: int) -> tuple[Any, ...]:
        return trained(nn.Sequential(nn.Linear(5, width), Readout(width, 3, bias=False)), (X, Y))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    hands = {
        "0": Hand(lambda P: X, lambda P, x: x @ P["0.weight"].T),
        "1": Hand(lambda P: (X @ P["0.weight"].T + P["0.bias"]) / LAST, lambda P, x: x @ P["1.weight"].T),
    }
    check_hand(factory, hands, measured)


def test_biases_are_uses_of_their_own_and_share_the_multiplier_behind_them() -> None:
    factory = written(lambda m, x: torch.tanh((x @ m.A + m.b) * 3) @ m.C, bias=True)
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    kept = histories(factory, LAST, STEPS)
    check_hand(factory, {"A": Hand(lambda P: X, lambda P, x: 3 * x @ P["A"])}, measured)
    assert layer(measured, "b").place is Place.VECTOR
    assert value(measured, "b", "weight-update", STEPS) == pytest.approx(rms(3 * (kept[-1]["b"] - kept[0]["b"])))
    assert not has(measured, "b", "preactivation")


def test_layers_of_torch_keep_the_bias_apart_from_the_product() -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)), (X, Y))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    names = [(one.name, one.place) for one in measured.layers]
    assert names == [("0", "input"), ("0.bias", "vector"), ("2", "output"), ("2.bias", "fixed")]
    kept = histories(factory, LAST, STEPS)
    check_hand(
        factory,
        {
            "0": Hand(lambda P: X, lambda P, x: x @ P["0.weight"].T),
            "2": Hand(
                lambda P: torch.tanh(X @ P["0.weight"].T + P["0.bias"]),
                lambda P, x: functional.linear(x, P["2.weight"]),
            ),
        },
        measured,
    )
    moved = kept[1]["2.bias"] - kept[0]["2.bias"]
    assert value(measured, "2.bias", "weight-update", 1) == pytest.approx(rms(moved))


class Tied(nn.Module):
    """One table for the tokens and for the read-out; ``module``: through a second module that shares it."""

    def __init__(self, width: int, module: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, width)
        self.width = width
        if module:
            self.head = nn.Linear(width, 7, bias=False)
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, with the multiplier 1/n that a tied read-out needs."""
        hidden = torch.tanh(self.embed(tokens))
        if hasattr(self, "head"):
            return self.head(hidden) / self.width
        return functional.linear(hidden, self.embed.weight) / self.width


@pytest.mark.parametrize(("module", "name"), [(True, "head"), (False, "embed (2nd use)")])
def test_a_tied_embedding_is_two_layers_of_one_parameter(module: bool, name: str) -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(Tied(width, module), (TOKENS, LABELS))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert [(one.name, one.place, one.tied) for one in measured.layers] == [
        ("embed", Place.INPUT, (name,)),
        (name, Place.OUTPUT, ("embed",)),
    ]
    assert {one.parameter for one in measured.layers} == {"embed.weight"}
    readout = Hand(
        lambda P: torch.tanh(P["embed.weight"][TOKENS]), lambda P, x: functional.linear(x, P["embed.weight"]) / LAST
    )
    check_hand(factory, {name: readout}, measured)
    kept = histories(factory, LAST, STEPS)
    moved = (kept[-1]["embed.weight"] - kept[0]["embed.weight"])[TOKENS]
    assert value(measured, "embed", "weight-update", STEPS) == pytest.approx(rms(moved))
    assert value(measured, "embed", "preactivation", 0) == pytest.approx(rms(kept[0]["embed.weight"][TOKENS]))


def test_indexing_a_raw_table_is_an_embedding_and_adding_one_is_a_vector() -> None:
    class Raw(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(7, width, device=CPU))
            self.places = nn.Parameter(torch.randn(9, width, device=CPU))
            self.out = nn.Linear(width, 7, bias=False)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(torch.tanh(self.table[tokens] + self.places[: tokens.shape[1]]))

    def factory(width: int) -> tuple[Any, ...]:
        return trained(Raw(width), (TOKENS, LABELS))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    kept = histories(factory, LAST, STEPS)
    assert [(one.name, one.place) for one in measured.layers] == [
        ("table", Place.INPUT),
        ("places", Place.VECTOR),
        ("out", Place.OUTPUT),
    ]
    moved = {name: kept[-1][name] - kept[0][name] for name in kept[0]}
    assert value(measured, "table", "weight-update", STEPS) == pytest.approx(rms(moved["table"][TOKENS]))
    assert value(measured, "places", "weight-update", STEPS) == pytest.approx(rms(moved["places"][:6]))


def test_convolutions_and_the_gain_and_bias_of_batch_norm() -> None:
    class Conv(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(2, width, 3, padding=1)
            self.norm = nn.BatchNorm2d(width)
            self.each = nn.Conv2d(width, width, 3, groups=width, bias=False)
            self.second = nn.Conv2d(width, width, 2, stride=2, bias=False)
            self.out = nn.Linear(width, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.second(self.each(torch.relu_(self.norm(self.first(x))))))
            return self.out(x.mean((-1, -2)))

    def factory(width: int) -> tuple[Any, ...]:
        return trained(Conv(width), (IMAGES, LABELLED))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert {one.name: one.place.value for one in measured.layers} == {
        "first": "input",
        "first.bias": "vector",
        "norm": "vector",
        "norm.bias": "vector",
        "each": "input",  # sums over one channel, however wide
        "second": "hidden",
        "out": "output",
    }

    def normed(P: Mapping[str, Tensor]) -> Tensor:
        x = functional.conv2d(IMAGES, P["first.weight"], P["first.bias"], padding=1)
        return torch.relu(functional.batch_norm(x, None, None, P["norm.weight"], P["norm.bias"], training=True))

    def each(P: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional.conv2d(x, P["each.weight"], groups=LAST)

    hands = {
        "first": Hand(lambda P: IMAGES, lambda P, x: functional.conv2d(x, P["first.weight"], padding=1)),
        "each": Hand(normed, each),
        "second": Hand(lambda P: each(P, normed(P)), lambda P, x: functional.conv2d(x, P["second.weight"], stride=2)),
    }
    check_hand(factory, hands, measured)


def test_transposed_convolutions_sum_over_their_first_axis() -> None:
    class Up(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one = nn.ConvTranspose1d(2, width, 2)
            self.two = nn.ConvTranspose1d(width, 3, 2, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    inputs, targets = normal(4, 2, 5), normal(4, 3, 12, seed=3)
    measured = measure(lambda width: trained(Up(width), (inputs, targets)), widths=WIDTHS, seeds=1)
    assert [(one.name, one.place.value) for one in measured.layers if one.operation == "convolution"] == [
        ("one", "input"),
        ("two", "output"),
    ]


def test_weights_made_of_several_parameters_are_one_product() -> None:
    class Adapted(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.W = nn.Parameter(torch.randn(width, 5, device=CPU))
            self.down = nn.Parameter(torch.randn(2, 5, device=CPU))
            self.up = nn.Parameter(torch.randn(width, 2, device=CPU))
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(width, 3, bias=False))

        def forward(self, x: Tensor) -> Tensor:
            return self.normed(torch.tanh(functional.linear(x, self.W + 0.5 * self.up @ self.down)))

    def factory(width: int) -> tuple[Any, ...]:
        return trained(Adapted(width), (X, Y))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert [one.place for one in measured.layers] == [Place.INPUT, Place.OUTPUT]
    hand = Hand(lambda P: X, lambda P, x: x @ (P["W"] + 0.5 * P["up"] @ P["down"]).T)
    check_hand(factory, {"W": hand}, measured)


def test_a_readout_of_mup_is_a_plain_layer_whose_input_is_scaled() -> None:
    def mlp(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(5, width), nn.ReLU(), mup.MuReadout(width, 3, bias=False))

    base = mup.make_base_shapes(mlp(4), mlp(8))

    def factory(width: int) -> tuple[Any, ...]:
        model = mup.set_base_shapes(mlp(width), base).double()
        return model, mup.MuAdam(model.parameters(), lr=0.01), (X, Y)

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    hand = Hand(lambda P: torch.relu(X @ P["0.weight"].T + P["0.bias"]) / (LAST / 4), lambda P, x: x @ P["2.weight"].T)
    check_hand(factory, {"2": hand}, measured)
    assert (measured.optimizer, measured.family) == ("Adam", "adam")


def test_recurrent_kernels_and_unknown_functions_say_what_to_write() -> None:
    class Recurrent(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, width, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x[:, None])[0]

    with pytest.raises(ValueError, match=r"lstm in lstm uses .*Write the layer a step at a time with nn.Linear"):
        measure(lambda width: trained(Recurrent(width), X), widths=WIDTHS, seeds=1)
    distances = written(lambda m, x: torch.cdist(torch.tanh(x @ m.A), m.B) @ m.C)
    with pytest.raises(ValueError, match=r"cdist uses B of shape .*write it with nn.Linear, matmul"):
        measure(distances, widths=WIDTHS, seeds=1)


def test_a_forward_pass_that_changes_its_uses_is_refused() -> None:
    calls = []

    def forward(m: Any, x: Tensor) -> Tensor:
        calls.append(1)
        hidden = torch.tanh(x @ m.A)
        return (torch.tanh(hidden @ m.B) if len(calls) == 1 else hidden) @ m.C

    with pytest.raises(ValueError, match=r"uses C \(matmul\) where the first pass used B"):
        measure(written(forward), widths=WIDTHS, seeds=1)
