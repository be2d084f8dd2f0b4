"""Places of layers: decided by what grows, refused where that cannot be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from by_hand import CPU, normal, trained
from torch import Tensor, nn

from tpbench.check.measure import measure
from tpbench.check.measurements import Place
from tpbench.check.places import layers_of
from tpbench.check.uses import Use

WIDTHS = (64, 128, 256)


def use(fan_in: tuple[int, ...], fan_out: tuple[int, ...], name: str = "layer") -> Use:
    return Use(name, "linear", (f"{name}.weight",), fan_in, fan_out, {})


def across(*shapes: tuple[tuple[int, ...], tuple[int, ...]], beside: bool = False) -> Mapping[int, list[Use]]:
    grown = [use((3,), (width,), "grows") for width in WIDTHS] if beside else []
    return {
        width: [use(*shapes[number]), *grown[number : number + 1]] for number, width in enumerate(WIDTHS[: len(shapes)])
    }


@pytest.mark.parametrize(
    ("shapes", "place"),
    [
        ([((3,), (n,)) for n in WIDTHS], Place.INPUT),
        ([((n,), (3 * n,)) for n in WIDTHS], Place.HIDDEN),
        ([((n,), (3,)) for n in WIDTHS], Place.OUTPUT),
        ([((5,), (3,)) for n in WIDTHS], Place.FIXED),
        ([((), (n,)) for n in WIDTHS], Place.VECTOR),
        ([((), (3,)) for n in WIDTHS], Place.FIXED),
        ([((n, 3, 3), (n // 2,)) for n in WIDTHS], Place.HIDDEN),
        ([((1, 3, 3), (n,)) for n in WIDTHS], Place.INPUT),
        ([((round(8 * n / 3),), (n,)) for n in WIDTHS], Place.HIDDEN),  # rounded once, and no further
    ],
)
def test_what_is_summed_over_and_what_is_left_decide_the_place(shapes: Any, place: Place) -> None:
    assert layers_of(across(*shapes, beside=True))[0].place is place


def test_layers_carry_their_sizes_at_the_narrowest_width() -> None:
    layer = layers_of(across(*[((n, 3), (n,)) for n in WIDTHS]))[0]
    assert (layer.fan_in, layer.fan_out, layer.number, layer.operation) == (192, 64, 0, "linear")


REFUSED: dict[str, tuple[Mapping[int, list[Use]], str]] = {
    "joined": (across(*[((n + 3,), (n,)) for n in WIDTHS]), "67, 131 and 259 entries.*3 entries that do not grow"),
    "rounded": (across(*[((n + n % 100,), (n,)) for n in WIDTHS]), "neither constant nor proportional.*rounding"),
    "root": (across(*[((int(n**0.5),), (n,)) for n in WIDTHS]), "8, 11 and 16 entries at widths 64, 128 and 256"),
    "axes": (across(((64,), (3,)), ((128, 1), (3,))), "keep its number of axes"),
    "nothing grows": (across(*[((5,), (3,)) for _ in WIDTHS]), "no parameter that the model uses grows.*64, 128, 256"),
    "more layers": (
        {64: [use((3,), (64,))], 128: [use((3,), (128,)), use((128,), (3,), "extra")]},
        r"use number 2 .*is nothing more at width 64 and extra \(linear\) at width 128.*same number of layers",
    ),
    "others": (
        {64: [use((3,), (64,), "one")], 128: [use((3,), (128,), "two")]},
        r"use number 1 .*is one \(linear\) at width 64 and two \(linear\) at width 128",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_placed_says_why_and_what_to_do(case: str) -> None:
    uses, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        layers_of(uses)


def test_a_model_that_joins_inputs_and_neurons_is_refused_by_its_layers_name() -> None:
    class Joined(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.read, self.mix = nn.Linear(3, width), nn.Linear(width + 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(torch.cat([x, torch.tanh(self.read(x))], -1))

    with pytest.raises(ValueError, match=r"an axis of mix has 11, 19 and 35 entries.*Give each its own layer"):
        measure(lambda width: trained(Joined(width), normal(6, 3)), widths=(8, 16, 32), seeds=1)


def test_heads_that_grow_and_heads_that_do_not() -> None:
    class Heads(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.mix = nn.Parameter(torch.randn(width // 4, 3, 4, device=CPU))
            self.out = nn.Parameter(torch.randn(width // 4, 4, 2, device=CPU))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bhj,hjo->bo", torch.tanh(torch.einsum("bi,hij->bhj", x, self.mix)), self.out)

    measured = measure(lambda width: trained(Heads(width), normal(6, 3)), widths=(8, 16), seeds=1)
    assert [(one.name, one.place) for one in measured.layers] == [("mix", Place.INPUT), ("out", Place.OUTPUT)]


def test_a_map_into_a_bottleneck_is_inner_and_a_read_out_is_not() -> None:
    def uses(width: int) -> list[Use]:
        down, up = use((width,), (4,), "down"), use((4,), (width,), "up")
        return [use((3,), (width,), "first"), down, up, use((width,), (8,), "readout")]

    assert [layer.inner for layer in layers_of({width: uses(width) for width in WIDTHS})] == [False, True, False, False]


def test_an_embedding_after_a_read_out_makes_it_no_bottleneck() -> None:
    def uses(width: int) -> list[Use]:
        return [use((width,), (4,), "side"), Use("embed", "embedding", ("embed.weight",), (9,), (width,), {})]

    assert not any(layer.inner for layer in layers_of({width: uses(width) for width in WIDTHS}))


def test_sizes_rounded_to_multiples_are_proportional_and_told() -> None:
    rounded = [8 * -(-8 * width // 24) for width in WIDTHS]
    assert rounded == [176, 344, 688]
    layers = layers_of(across(*(((n,), (size,)) for n, size in zip(WIDTHS, rounded, strict=True)), beside=True))
    assert (layers[0].place, layers[0].rounded, layers[1].rounded) == (Place.HIDDEN, True, False)
    with pytest.raises(ValueError, match="neither constant nor proportional"):
        layers_of(across(((64,), (64,)), ((128,), (150,)), ((256,), (256,)), beside=True))
