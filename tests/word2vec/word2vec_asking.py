"""Small trainings for the tests of ``tpbench word2vec``, by the command line and by request."""

from __future__ import annotations

import json
from typing import Any

import torch
from typer.testing import CliRunner

from tpbench.cli import app
from tpbench.data.corpus import load
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.train import Training
from tpbench.parametrization import named
from tpbench.word2vec.request import Request

CPU = torch.device("cpu")
TEXT = ("planted", "--tokens", "9000", "--top", "560")
SMALL = ("--block", "64", "--window", "4", "--negatives", "5", "--subsample", "1e-2", "--base-width", "4")
KINDS = {
    "finite": ("--width", "16", "--seeds", "2"),
    "identity": ("--width", "inf"),
    "compressed": ("--width", "inf", "--compressed", "24"),
    "kernel limit": ("--width", "inf", "--parametrization", "ntp", "--random-output"),
}
TIMED = ("words_a_second", "resumed", "notes", "files")
"""What a training that went on says otherwise."""


def ask(*words: str, text: tuple[str, ...] = TEXT) -> Any:
    return CliRunner().invoke(app, ["word2vec", *text, *SMALL, "--device", "cpu", "--epochs", "2", *words])


def no_constant(word: str) -> float:
    raise AssertionError(f"{word} is not JSON")


def as_json(*words: str, text: tuple[str, ...] = TEXT) -> dict[str, Any]:
    result = ask("--json", *words, text=text)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout, parse_constant=no_constant)
    return found


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in TIMED}


def request_of(**changes: Any) -> Request:
    settings: dict[str, Any] = {
        "corpus": load("planted", tokens=9000, top=560),
        "architecture": "cbow",
        "zero_output": True,
        "width": 16,
        "parametrization": named("mup"),
        "training": Training(epochs=2),
        "sampling": Sampling(window=4, negatives=5, subsample=1e-2, block=64, tile=16),
        "device": CPU,
        "seeds": 2,
        "base_width": 4,
    }
    return Request(**settings | changes)
