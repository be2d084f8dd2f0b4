"""Architectures as data: what JSON says, what is refused and how."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from tpbench.architecture import ARCHITECTURES, Attention, Convolution, Recurrent, architecture


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_json_and_back(kind: str) -> None:
    made = ARCHITECTURES[kind]()
    text = json.dumps({"kind": kind, **asdict(made)})
    assert architecture(json.loads(text)) == made
    assert architecture({"kind": kind}) == made


def test_fields_are_read() -> None:
    conv = architecture({"kind": "conv", "filter": [3, 5], "readout": "mean", "padding": "zero", "depth": 4})
    assert conv == Convolution(depth=4, filter=(3, 5), readout="mean", padding="zero")
    assert architecture({"kind": "rnn", "tied": False}) == Recurrent(tied=False)
    assert architecture({"kind": "attention", "sigma_b": 0.5}) == Attention(sigma_b=0.5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "lstm"}, "unknown architecture 'lstm' .known: mlp, residual, rnn, conv"),
        ({}, "unknown architecture 'None'"),
        ({"kind": "mlp", "branch": 0.5}, "'mlp' has no branch .it has: depth, activation, sigma_w, sigma_b"),
        ({"kind": "residual", "depth": 0}, "Residual needs a whole depth of at least 1, got 0"),
        ({"kind": "rnn", "sigma_w": float("inf")}, "both finite; got inf and 0.0"),
        ({"kind": "mlp", "depth": 1.5}, "Perceptron needs a whole depth of at least 1, got 1.5"),
        ({"kind": "mlp", "sigma_w": 0.0}, "sigma_w is above 0, sigma_b at least 0, both finite; got 0.0 and 0.0"),
        ({"kind": "layernorm", "sigma_b": -1.0}, "got 1.0 and -1.0"),
        ({"kind": "rnn", "readout": "flatten"}, "unknown readout 'flatten' .known: mean, last"),
        ({"kind": "conv", "padding": "same"}, "unknown padding 'same' .known: circular, zero"),
        ({"kind": "conv", "filter": [2]}, r"1 or 2 odd sizes, got \(2,\)"),
        ({"kind": "conv", "filter": [3, 3, 3]}, "1 or 2 odd sizes"),
    ],
)
def test_what_no_architecture_can_have_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture(config)


def test_imports_no_torch() -> None:
    code = "import sys, tpbench.architecture; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
