"""Provenance says what git, the packages and the machine say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

import tpbench
from tpbench.bench.provenance import count_cores, git_state, provenance


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    git_state.cache_clear()
    yield
    git_state.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source directory in a repository with one commit."""
    folder = tmp_path / "repository" / "package"
    folder.mkdir(parents=True)
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Begin")
    return folder


def test_it_is_strict_json_with_versions_and_a_time() -> None:
    record = provenance("cpu", "float64", 3, ("numpy", "pandas", "no-such-package"))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["tpbench"] == tpbench.__version__
    assert record["packages"] == {
        "numpy": metadata.version("numpy"),
        "pandas": metadata.version("pandas"),
        "no-such-package": None,
    }
    assert (record["device"], record["dtype"], record["threads"]) == ("cpu", "float64", 3)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(record["started"])) < timedelta(minutes=1)
    assert datetime.fromisoformat(record["started"]).utcoffset() == timedelta(0)


def test_versions_are_found_without_imports() -> None:
    code = (
        "import sys; from tpbench.bench.provenance import provenance; provenance('cpu', 'float64', 1);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'scipy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_clean_source(source: Path) -> None:
    assert git_state(source) == (git(source, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_changed_or_new_file_makes_the_source_dirty(source: Path, name: str) -> None:
    (source / name).write_text("x = 2\n")
    assert git_state(source) == (git(source, "rev-parse", "HEAD"), True)


def test_changes_beside_the_source_do_not_count(source: Path) -> None:
    (source.parent / "notes.txt").write_text("")
    assert git_state(source) == (git(source, "rev-parse", "HEAD"), False)


def test_a_package_installed_inside_a_repository_is_not_part_of_it(source: Path) -> None:
    installed = source.parent / "venv"
    installed.mkdir()
    (installed / "code.py").write_text("")
    assert git_state(installed) is None


def test_no_repository_and_no_git(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(source) is None


def test_git_is_asked_once_a_process(source: Path) -> None:
    first = git_state(source)
    (source / "code.py").write_text("x = 3\n")
    assert git_state(source) is first


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot bind a process to cores")
def test_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert count_cores() == len(before)
