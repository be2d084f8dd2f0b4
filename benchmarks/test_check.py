"""Seconds of ``tpbench check`` on a perceptron and on a small language model, and of its parts."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from tpbench.bench.claim import Verdict
from tpbench.check import check
from tpbench.check.measure import measure
from tpbench.check.report import report_on
from tpbench.parametrization import named

WIDTHS = (64, 128, 256, 512)
VOCABULARY, LENGTH, HEADS = 32, 16, 4

Built = tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]


def _source() -> torch.Generator:
    return torch.Generator(device="cpu").manual_seed(0)


def _adam(model: nn.Module, width: int, rate: float) -> torch.optim.Optimizer:
    """Return Adam as muP wants it: matrices that read neurons at a rate of 1/n; and start those that write outputs."""
    readers = [(name, p) for name, p in model.named_parameters() if p.ndim == 2 and p.shape[1] >= WIDTHS[0]]
    reading = [p for name, p in readers if "embed" not in name]
    others = [p for p in model.parameters() if all(p is not matrix for matrix in reading)]
    for name, matrix in readers:
        if name == "readout.weight":
            nn.init.normal_(matrix, std=1.0 / width)
    return torch.optim.Adam(
        [{"params": reading, "lr": rate * WIDTHS[0] / width}, {"params": others, "lr": rate}], lr=rate
    )


def perceptron(width: int) -> Built:
    model = nn.Sequential()
    model.add_module("first", nn.Linear(32, width))
    model.add_module("relu1", nn.ReLU())
    model.add_module("hidden", nn.Linear(width, width))
    model.add_module("relu2", nn.ReLU())
    model.add_module("readout", nn.Linear(width, 8))
    inputs = torch.randn((32, 32), generator=_source(), device="cpu")
    targets = torch.randint(8, (32,), generator=_source(), device="cpu")
    return model, _adam(model, width, 0.003), (inputs, targets)


class LanguageModel(nn.Module):
    """Two of PyTorch's encoder layers, of heads of a fixed size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, width // 16, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.readout(self.norm(x))
        return out


def language_model(width: int) -> Built:
    model = LanguageModel(width)
    tokens = torch.randint(VOCABULARY, (4, LENGTH + 1), generator=_source(), device="cpu")
    return model, _adam(model, width, 0.002), (tokens[:, :-1], tokens[:, 1:])


MODELS = {"perceptron": perceptron, "language model": language_model}


@pytest.mark.benchmark(group="check")
@pytest.mark.parametrize("name", MODELS)
def test_check(benchmark: BenchmarkFixture, name: str) -> None:
    report = benchmark.pedantic(check, args=(MODELS[name],), kwargs={"widths": WIDTHS}, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(judged=len(report.judged), layers=len(report.measurements.layers))
    assert report.verdict is not Verdict.REFUTED, report.findings


@pytest.mark.benchmark(group="check")
def test_judge(benchmark: BenchmarkFixture) -> None:
    """The verdicts alone, from measurements that are there."""
    found = measure(language_model, widths=WIDTHS, seeds=4)
    report = benchmark.pedantic(report_on, args=(found, named("mup")), rounds=3)
    benchmark.extra_info.update(rows=len(found.rows))
    assert report.verdict is not Verdict.REFUTED, report.findings
