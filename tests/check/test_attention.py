"""Attention: logits written by hand, fused, of torch's own modules; whose the scale of the queries is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import CPU, WIDTHS, Hand, expected, has, histories, layer, normal, rms, trained, value
from torch import Tensor, nn
from torch.nn import functional

from tpbench.check.measure import measure
from tpbench.check.measurements import Place

STEPS = 3
TEXTS = normal(2, 6, 5)
TARGETS = normal(2, 6, 3, seed=1)
LAST = WIDTHS[1]
Attend = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """One attention over 6 tokens with 2 heads; ``attend`` is what a test writes."""

    def __init__(self, width: int, attend: Attend) -> None:
        super().__init__()
        self.width = width
        self.read, self.out = nn.Linear(5, width, bias=False), nn.Linear(width, 3, bias=False)
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.attend = attend

    def heads(self, x: Tensor) -> Tensor:
        """Return (batch, heads, tokens, width / 2)."""
        return x.unflatten(-1, (2, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return one output a token."""
        x = torch.tanh(self.read(x))
        mixed = self.attend(self, *(self.heads(one(x)) for one in (self.q, self.k, self.v)))
        return self.out(mixed.transpose(1, 2).flatten(-2))


def causal(logits: Tensor) -> Tensor:
    later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
    return logits.masked_fill(later, -torch.inf)


ATTENDS: dict[str, Attend] = {
    "softmax": lambda m, q, k, v: torch.softmax(q @ k.mT / (m.width // 2), -1) @ v,
    "method": lambda m, q, k, v: (q @ k.transpose(-1, -2)).div(m.width // 2).softmax(-1) @ v,
    "queries": lambda m, q, k, v: functional.softmax((q * (2 / m.width)) @ k.mT, dim=-1) @ v,
    "einsum": lambda m, q, k, v: torch.einsum(
        "bhts,bhsd->bhtd", (torch.einsum("bhtd,bhsd->bhts", q, k) * 2 / m.width).softmax(-1), v
    ),
    "fused": lambda m, q, k, v: functional.scaled_dot_product_attention(q, k, v, scale=2 / m.width),
}


def logits_by_hand(P: Any) -> Tensor:
    x = torch.tanh(TEXTS @ P["read.weight"].T)
    q, k = ((x @ P[f"{one}.weight"].T).unflatten(-1, (2, -1)).transpose(1, 2) for one in "qk")
    return q @ k.mT * 2 / LAST


def factory_of(attend: Attend) -> Callable[[int], tuple[Any, ...]]:
    return lambda width: trained(Attention(width, attend), (TEXTS, TARGETS))


@pytest.mark.parametrize("way", ATTENDS)
def test_logits_are_the_scaled_inner_products_however_they_are_written(way: str) -> None:
    factory = factory_of(ATTENDS[way])
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    assert [one.name for one in measured.layers] == ["read", "q", "k", "v", "logits", "out"]
    assert layer(measured, "logits").place is Place.LOGITS
    kept = histories(factory, LAST, STEPS)
    first = logits_by_hand(kept[0])
    assert value(measured, "logits", "preactivation", 0) == pytest.approx(rms(first), rel=1e-10)
    change = rms(logits_by_hand(kept[-1]) - first)
    assert value(measured, "logits", "preactivation-change", STEPS) == pytest.approx(change, rel=1e-8)
    assert not has(measured, "logits", "weight-update")


@pytest.mark.parametrize("way", ATTENDS)
def test_the_scale_of_the_queries_belongs_to_the_logits_and_not_to_the_queries_layer(way: str) -> None:
    factory = factory_of(ATTENDS[way])
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    hand = Hand(lambda P: torch.tanh(TEXTS @ P["read.weight"].T), lambda P, x: x @ P["q.weight"].T)
    wanted = expected(hand, histories(factory, LAST, STEPS), STEPS)
    for quantity, number in wanted.items():
        assert value(measured, "q", quantity, STEPS) == pytest.approx(number, rel=1e-8)


def test_masked_logits_are_left_out() -> None:
    factory = factory_of(lambda m, q, k, v: torch.softmax(causal(q @ k.mT / (m.width // 2)), -1) @ v)
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    kept = histories(factory, LAST, STEPS)
    seen = torch.ones(6, 6, dtype=torch.bool, device=CPU).tril()
    first, last = (logits_by_hand(P)[..., seen] for P in (kept[0], kept[-1]))
    assert value(measured, "logits", "preactivation", 0) == pytest.approx(rms(first), rel=1e-10)
    assert value(measured, "logits", "preactivation-change", STEPS) == pytest.approx(rms(last - first), rel=1e-8)


def test_a_softmax_of_a_parameters_product_is_no_attention() -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(nn.Sequential(nn.Linear(5, width), nn.Softmax(-1), nn.Linear(width, 3)), (TEXTS, TARGETS))

    measured = measure(factory, widths=WIDTHS, seeds=1)
    assert all(one.place is not Place.LOGITS for one in measured.layers)


class OfTorch(nn.Module):
    """``nn.MultiheadAttention`` with and without weights asked for, of the tokens to themselves or to others."""

    def __init__(self, width: int, weights: bool, others: bool) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(5, width, bias=False), nn.Linear(width, 3, bias=False)
        self.attn = nn.MultiheadAttention(width, 2, bias=False, batch_first=True)
        self.weights, self.others = weights, others

    def forward(self, x: Tensor) -> Tensor:
        """Return one output a token."""
        x = torch.tanh(self.read(x))
        return self.out(self.attn(x, torch.sin(x) if self.others else x, x, need_weights=self.weights)[0])


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_the_attention_of_torch_is_seen_through(weights: bool, others: bool) -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(OfTorch(width, weights, others), (TEXTS, TARGETS))

    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    hidden = [one.name for one in measured.layers if one.place is Place.HIDDEN]
    inner = "attn.in_proj_weight"
    uses = [inner, f"{inner} (2nd use)", f"{inner} (3rd use)"] if others else [inner]
    assert hidden == [*uses, "attn.out_proj"]
    kept = histories(factory, LAST, STEPS)

    def read(P: Any) -> Tensor:
        return torch.tanh(TEXTS @ P["read.weight"].T)

    def queries(P: Any, x: Tensor) -> Tensor:
        return x @ (P[inner][:LAST] if others else P[inner]).T

    for quantity, number in expected(Hand(read, queries), kept, STEPS).items():
        assert value(measured, inner, quantity, STEPS) == pytest.approx(number, rel=1e-8)
    initial = kept[0][inner].chunk(3)
    x = read(kept[0])
    q, k = x @ initial[0].T, (torch.sin(x) if others else x) @ initial[1].T
    q, k = (one.unflatten(-1, (2, -1)).transpose(1, 2) for one in (q, k))
    wanted = rms(q @ k.mT / (LAST // 2) ** 0.5)
    assert value(measured, "attn logits", "preactivation", 0) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_the_fast_path_of_torchs_encoder_is_not_taken(training: bool) -> None:
    def factory(width: int) -> tuple[Any, ...]:
        block = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        model = nn.Sequential(nn.Linear(5, width), nn.TransformerEncoder(block, 2), nn.Linear(width, 3))
        return trained(model.train(training), (TEXTS, TARGETS), rate=0.01)

    measured = measure(factory, widths=WIDTHS, seeds=1)
    assert sum(one.place is Place.LOGITS for one in measured.layers) == 2
    assert sum(one.place is Place.HIDDEN for one in measured.layers) == 8
    assert torch.backends.mha.get_fastpath_enabled()


def test_grouped_queries_share_their_keys() -> None:
    class Grouped(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.q, self.kv, self.out = nn.Linear(5, width), nn.Linear(5, width // 2), nn.Linear(width, 3)

        def forward(self, x: Tensor) -> Tensor:
            q = self.q(x).unflatten(-1, (4, -1)).transpose(1, 2)
            kv = self.kv(x).unflatten(-1, (2, -1)).transpose(1, 2)
            y = functional.scaled_dot_product_attention(q, kv, kv, enable_gqa=True)
            return self.out(y.transpose(1, 2).flatten(-2))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Grouped(LAST).double()
    measured = measure(lambda width: trained(Grouped(width), (TEXTS, TARGETS)), widths=WIDTHS, seeds=1)
    q = model.q(TEXTS).unflatten(-1, (4, -1)).transpose(1, 2)
    k = model.kv(TEXTS).unflatten(-1, (2, -1)).transpose(1, 2)
    each = torch.stack([q[:, head] @ k[:, head // 2].mT for head in range(4)]) / 2
    assert value(measured, "logits", "preactivation", 0) == pytest.approx(rms(each.detach()), rel=1e-10)


@pytest.mark.parametrize("way", ATTENDS)
def test_the_scale_of_an_attention_is_known_without_noise(way: str) -> None:
    measured = measure(factory_of(ATTENDS[way]), widths=WIDTHS, seeds=2)
    for width in WIDTHS:  # 2 / width times width / 2 coordinates of a head
        assert value(measured, "logits", "attention-scale", 0, width, seed=1) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("weights", [False, True])
def test_the_scale_of_torchs_attention_grows_like_the_root_of_the_heads_size(weights: bool) -> None:
    def factory(width: int) -> tuple[Any, ...]:
        return trained(OfTorch(width, weights, True), (TEXTS, TARGETS))

    measured = measure(factory, widths=WIDTHS, seeds=1)
    for width in WIDTHS:
        found = value(measured, "attn logits", "attention-scale", 0, width)
        assert found == pytest.approx((width // 2) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("mask", ["causal", "numbers", "flags"])
def test_masked_logits_of_a_fused_attention_are_left_out(mask: str) -> None:
    seen = torch.ones(6, 6, dtype=torch.bool, device=CPU).tril()
    masks: dict[str, dict[str, Any]] = {
        "causal": {"is_causal": True},
        "numbers": {"attn_mask": torch.zeros(6, 6, dtype=torch.float64, device=CPU).masked_fill(~seen, -torch.inf)},
        "flags": {"attn_mask": seen},
    }
    factory = factory_of(
        lambda m, q, k, v: functional.scaled_dot_product_attention(q, k, v, scale=2 / m.width, **masks[mask])
    )
    measured = measure(factory, widths=WIDTHS, seeds=1, steps=STEPS)
    kept = histories(factory, LAST, STEPS)
    first, last = (logits_by_hand(P)[..., seen] for P in (kept[0], kept[-1]))
    assert value(measured, "logits", "preactivation", 0) == pytest.approx(rms(first), rel=1e-10)
    assert value(measured, "logits", "preactivation-change", STEPS) == pytest.approx(rms(last - first), rel=1e-8)
