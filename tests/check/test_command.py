"""``tpbench check``: statuses, what it says of bad input and of the user's own errors, and how factories are found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tpbench.check.load import load_factory
from tpbench.cli import app

SMALL = ("--widths", "32,64,128,256", "--seeds", "3", "--steps", "2")

MODELS = """
from helper import SIZE

import torch
from torch import nn


def right(width):
    model = nn.Sequential(nn.Linear(SIZE, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8))
    nn.init.normal_(model[4].weight, std=4 / width)
    rates = {"0.weight": 1, "0.bias": 1, "2.weight": 1 / width, "2.bias": 1, "4.weight": 1 / width, "4.bias": 1}
    groups = [{"params": [p], "lr": 0.01 * rates[name]} for name, p in model.named_parameters()]
    return model, torch.optim.Adam(groups)


def constant_rate(width):
    model, _ = right(width)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def raises(width):
    return nn.Linear(width, width).wait


class Odd(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(SIZE, width)

    def forward(self, x):
        return self.layer(x) @ torch.zeros(3)


def fails_forward(width):
    model = Odd(width)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


NUMBER = 3
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    (directory / "helper.py").write_text("SIZE = 16\n")
    (directory / "mine.py").write_text(MODELS)
    (directory / "broken.py").write_text("import helper\n\nhelper.nothing()\n")
    return directory


def ask(*words: str) -> Any:
    return CliRunner().invoke(app, ["check", *words, "--device", "cpu"])


def test_a_right_model_ends_with_0_and_a_wrong_one_with_3(models: Path, tmp_path: Path) -> None:
    right = ask(f"{models}/mine.py:right", *SMALL)
    assert right.exit_code == 0, right.output
    assert "mup: refuted" not in right.stdout
    wrong = ask(f"{models}/mine.py:constant_rate", *SMALL, "--plot", str(tmp_path / "sizes.png"))
    assert wrong.exit_code == 3, wrong.output
    assert "learning rate: 2" in wrong.stdout
    assert "scaled like a first layer" in wrong.stdout
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_all_that_standard_output_holds(models: Path) -> None:
    result = ask(f"{models}/mine.py:constant_rate", *SMALL, "--json")
    known = json.loads(result.stdout)
    assert result.exit_code == 3
    assert known["verdict"] == "refuted"
    assert known["widths"] == [32, 64, 128, 256]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.py"], r"file.py:function"),
        (["nowhere.py:right"], r"no such file"),
        (["mine.py:wright"], r"did you mean 'right'"),
        (["mine.py:NUMBER"], r"is a int, not a function"),
        (["broken.py:build"], r"importing .*broken.py failed: AttributeError.*broken.py:3: helper.nothing\(\)"),
        (["mine.py:raises", *SMALL], r"AttributeError.*in raises, .*mine.py:\d+: return nn.Linear"),
        (["mine.py:fails_forward", *SMALL], r"in forward, .*mine.py:\d+: return self.layer\(x\) @"),
        (["mine.py:right", "--widths", "64,big"], r"--widths are whole numbers"),
        (["mine.py:right", "--widths", "64,128"], r"at least 3 widths"),
        (["mine.py:right", "--plot", "sizes.doc"], r"--plot writes .png"),
        (["mine.py:right", "--parametrization", "nup"], r"did you mean"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(models: Path, words: list[str], message: str) -> None:
    import re

    result = ask(f"{models}/{words[0]}", *words[1:])
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert re.search(message, line), line


def test_a_module_is_found_by_name_from_the_working_directory(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    before = list(sys.path)
    assert load_factory("mine:right").__name__ == "right"
    assert sys.path == before


def test_help_and_plugin_import_no_torch() -> None:
    code = (
        "import sys\n"
        "import tpbench.check, tpbench.check.plugin, tpbench.check.command\n"
        "from typer.testing import CliRunner\n"
        "from tpbench.cli import app\n"
        "assert CliRunner().invoke(app, ['check', '--help']).exit_code == 0\n"
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
