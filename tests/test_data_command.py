"""``tpbench data``: what it lists and prepares, what it refuses, and that its help imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tpbench.cli import app
from tpbench.data import corpus


def ask(*words: str) -> Any:
    return CliRunner().invoke(app, ["data", *words])


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and no file of the user's."""
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    for variable in ("TPBENCH_TEXT8", "TPBENCH_FIL9"):
        monkeypatch.delenv(variable, raising=False)


def test_list_tells_what_is_ready_and_what_to_do() -> None:
    result = ask("list", "--json")
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert set(rows) == set(corpus.CORPORA)
    assert rows["planted"]["ready"]
    assert rows["planted"]["tokens"] == 199_991
    assert not rows["packaged"]["ready"]
    assert "tpbench data prepare packaged" in rows["packaged"]["remedy"]
    assert "TPBENCH_TEXT8" in rows["text8"]["remedy"]
    for row in rows.values():
        assert row["ready"] is (not row["remedy"])


def test_the_table_has_every_corpus() -> None:
    result = ask("list")
    assert result.exit_code == 0, result.output
    for name in corpus.CORPORA:
        assert name in result.stdout
    assert "17,005,207" in result.stdout


def test_prepare_prints_what_a_corpus_holds() -> None:
    first, again = ask("prepare", "planted"), ask("prepare", "planted")
    assert first.exit_code == 0, first.output
    assert first.stdout == again.stdout
    held = corpus.load("planted")
    rows = {
        cells[1].strip(): cells[2].strip() for line in first.stdout.splitlines() if len(cells := line.split("│")) > 3
    }
    assert rows["tokens in the vocabulary"] == f"{len(held.tokens):,}"
    assert rows["words that occur at least 1 times"] == "792"
    assert rows["country"] == "80"
    assert rows["country-capital"] == f"{80 * 79:,}"
    assert rows["analogy questions"] == f"{12 * 80 * 79:,}"
    assert held.digest in first.stdout
    assert "counting words" in first.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("text8",), "set TPBENCH_TEXT8 to the path of the file"),
        (("text8", "--path", "nowhere"), "there is no file nowhere (the path that was given)"),
        (("packged",), "did you mean 'packaged'?"),
        (("planted", "--path", "some"), "takes no path"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_status_2(words: tuple[str, ...], message: str) -> None:
    result = ask("prepare", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_path_is_not_remembered_and_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = corpus.load("planted", tokens=20_000)
    monkeypatch.setattr(corpus, "prepare", lambda name, tell, path: held)
    result = ask("prepare", "fil9", "--path", str(tmp_path / "fil9"))
    assert result.exit_code == 0, result.output
    assert f"set TPBENCH_FIL9={tmp_path / 'fil9'}" in result.stdout


def test_help_imports_no_numbers() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tpbench.cli import app\n"
        "assert CliRunner().invoke(app, ['data', '--help']).exit_code == 0\n"
        "print(sorted({'numpy', 'torch', 'pandas', 'gensim'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
