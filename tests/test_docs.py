"""The tutorials in docs/: every block of Python runs, prints what the next block says, and every command works."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```([a-z]+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"# (\w+\.py)\n")


class Block(NamedTuple):
    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    return [Block(m[1], m[2], page.count("\n", 0, m.start()) + 1) for m in BLOCK.finditer(page)]


def run_python(path: Path) -> int:
    """Run the Python blocks of a page one after another in one namespace; return how many printed what they should.

    A block that begins with the name of a file stands for that file and has a namespace of its own.
    """
    found, names, checked = blocks(path.read_text()), {"__name__": "page"}, 0
    for i, block in enumerate(found):
        if block.language != "python":
            continue
        mine: dict[str, Any] = {"__name__": "file"} if FILE_NAME.match(block.text) else names
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile("\n" * block.line + block.text, str(path), "exec"), mine)
        following = found[i + 1] if i + 1 < len(found) else None
        wanted = following.text if following is not None and following.language == "text" else ""
        assert said.getvalue() == wanted, f"{path.name}, line {block.line}"
        checked += bool(wanted)
    return checked


def run_commands(path: Path, directory: Path) -> Mapping[str, subprocess.CompletedProcess[str]]:
    """Run the console lines of a page in a directory that has its files."""
    done = {}
    for block in blocks(path.read_text()):
        if block.language == "python" and (named := FILE_NAME.match(block.text)):
            (directory / named[1]).write_text(block.text)
        if block.language == "console":
            for line in block.text.splitlines():
                command, *words = shlex.split(line.removeprefix("$ "))
                assert command == "tpbench"
                call = [sys.executable, "-m", "tpbench.cli", *words]
                done[line] = subprocess.run(call, cwd=directory, capture_output=True, text=True, check=False)
    return done


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_python_blocks(path: Path) -> None:
    run_python(path)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_console_blocks(path: Path, tmp_path: Path) -> None:
    for line, done in run_commands(path, tmp_path).items():
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_links_and_pictures_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_semicircle_page_prints_and_is_supported(tmp_path: Path) -> None:
    path = ROOT / "docs" / "semicircle.md"
    assert path in DOCS
    assert run_python(path) >= 5
    [done] = run_commands(path, tmp_path).values()
    assert "verdict: supported" in done.stdout
    assert re.search(r"m4 +│ 2 ", done.stdout)
    assert (tmp_path / "convergence.png").exists()


def test_a_wrong_text_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="line 1"):
        run_python(page)
    page.write_text("```python\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        run_python(page)
