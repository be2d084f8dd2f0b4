"""The README's examples run, and its tables tell the truth."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tpbench.bench.claim import PROFILES
from tpbench.claims import CLAIMS
from tpbench.data.corpus import CORPORA
from tpbench.parametrization import PARAMETRIZATIONS, from_config
from tpbench.programs.infinite import METHODS

PROGRAM = """
from tpbench.programs import gaussian, inner, matrix
from tpbench.programs import program as outputs

x, W = gaussian("x"), matrix("W")
program = outputs(m=inner(W @ x, W @ x))
"""
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    assert found, f"the README has no {language} example"
    return found


def test_console_examples(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "FILE.npz", x=rng.standard_normal((4, 8)), y=rng.standard_normal(4))
    (tmp_path / "FILE.py").write_text(PROGRAM)
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "tpbench"
        done = subprocess.run(
            [sys.executable, "-m", "tpbench.cli", *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    if "check(" in code:  # PyTorch's defaults under Adam
        assert lines[0] == "refuted"
        assert "multiply its learning rate by n^-1" in done.stdout
        return
    assert len(lines) == 11
    if "loss" in code:  # the examples that print a loss train
        assert float(lines[-1].split()[1]) < 0.5 * float(lines[0].split()[1])


def test_table_example_is_mup() -> None:
    [example] = blocks("toml")
    mine, mup = from_config(tomllib.loads(example)), PARAMETRIZATIONS["mup"]
    assert (mine.input, mine.hidden, mine.output) == (mup.input, mup.hidden, mup.output)


def test_every_claim_is_in_the_table() -> None:
    first_cells = re.findall(r"^\| `([a-z][a-z0-9-]*)` \|", README, flags=re.MULTILINE)
    assert [name for name in first_cells if name not in {*PROFILES, *CORPORA, *METHODS}] == list(CLAIMS)


def test_every_corpus_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|[^|]*\|[^|]*\| ([0-9,]+) \|", README, flags=re.MULTILINE)
    assert [(name, int(words.replace(",", ""))) for name, words in rows] == [
        (name, kind.words) for name, kind in CORPORA.items()
    ]


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
