"""Fetching packages with clients that are played here: what comes is checked, and what goes wrong has a remedy."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tpbench.data.corpus.cache import NotReadyError
from tpbench.data.corpus.packages import CLIENTS, Package, fetch, run_client

CONTENT = b"the package"
PACKAGE = Package("pip", "some-package", "1.2", "some.whl", hashlib.sha256(CONTENT).hexdigest(), ("--abi=none",))


class Played:
    """A client that writes files into the directory it runs in, and remembers how it was called."""

    def __init__(self, files: Mapping[str, bytes], status: int = 0, stderr: str = "") -> None:
        self.files, self.status, self.stderr = files, status, stderr
        self.calls: list[list[str]] = []

    def __call__(self, words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
        self.calls.append(words)
        for name, content in self.files.items():
            (directory / name).write_bytes(content)
        return subprocess.CompletedProcess(words, self.status, "", self.stderr)


def test_a_package_is_fetched_once(tmp_path: Path) -> None:
    client, told = Played({"some.whl": CONTENT}), list[str]()
    for _ in range(2):
        path = fetch(PACKAGE, tmp_path / "new" / "packages", client, told.append)
        assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["some.whl"], "no scratch directory stays"
    assert told == ["pip: some-package 1.2"]
    assert client.calls == [[*CLIENTS["pip"].words, "--abi=none", "some-package==1.2"]]


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("pip", [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest=.", "p==1"]),
        ("apt-get", ["apt-get", "download", "p=1"]),
        ("npm", ["npm", "pack", "--ignore-scripts", "p@1"]),
    ],
)
def test_every_client_is_asked_for_one_version_without_dependencies(
    client: str, words: list[str], tmp_path: Path
) -> None:
    played = Played({"f": CONTENT})
    fetch(Package(client, "p", "1", "f", PACKAGE.sha256), tmp_path, played)
    assert played.calls == [words]


def test_a_damaged_file_is_fetched_again_and_kept_where_that_fails(tmp_path: Path) -> None:
    (tmp_path / "some.whl").write_bytes(b"damaged")
    with pytest.raises(NotReadyError):
        fetch(PACKAGE, tmp_path, Played({}, status=1))
    assert (tmp_path / "some.whl").read_bytes() == b"damaged"
    assert fetch(PACKAGE, tmp_path, Played({"some.whl": CONTENT})).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (Played({}, 100, "E: Version '1.2' not found"), r"status 100 \(E: Version '1.2' not found\).*may be gone"),
        (Played({}, 1), "status 1 .it said nothing."),
        (Played({"some.whl": b"other"}), f"sha256 {hashlib.sha256(b'other').hexdigest()}, expected {PACKAGE.sha256}"),
        (Played({"other.whl": CONTENT}), r"brought \['other.whl'\] instead of some.whl"),
        (Played({"some.whl": CONTENT, "dependency.whl": b""}), r"brought \['dependency.whl', 'some.whl'\]"),
        (Played({}), "brought nothing instead of some.whl"),
    ],
)
def test_what_goes_wrong_is_told_with_the_way_by_hand(client: Played, message: str, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=message) as caught:
        fetch(PACKAGE, tmp_path, client)
    assert f"or put some.whl (sha256 {PACKAGE.sha256}) into {tmp_path} yourself" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_put_by_hand_needs_no_client(tmp_path: Path) -> None:
    (tmp_path / "some.whl").write_bytes(CONTENT)
    client = Played({})
    assert fetch(PACKAGE, tmp_path, client) == tmp_path / "some.whl"
    assert not client.calls


def test_a_missing_client_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Package("npm", "p", "1", "f", PACKAGE.sha256)
    with pytest.raises(NotReadyError, match=r"asked of npm, which is not on this machine: install Node.js's npm"):
        fetch(package, tmp_path / "packages", run_client)


def test_a_client_that_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npm").write_text("")
    (tmp_path / "npm").chmod(0o755)  # an empty program: "Exec format error"
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Package("npm", "p", "1", "f", PACKAGE.sha256)
    with pytest.raises(NotReadyError, match=r"asked of npm, which cannot be run \(.*or put f "):
        fetch(package, tmp_path / "packages", run_client)


def test_clients_run_where_they_are_told_to_and_their_words_come_back(tmp_path: Path) -> None:
    code = "import pathlib, sys; pathlib.Path('here').touch(); sys.stderr.write('said'); sys.exit(3)"
    ended = run_client([sys.executable, "-c", code], tmp_path)
    assert (ended.returncode, ended.stderr, (tmp_path / "here").is_file()) == (3, "said", True)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotReadyError, match=r"cannot be written .* set TPBENCH_CACHE to a directory"):
        fetch(PACKAGE, tmp_path / "file" / "packages", Played({"some.whl": CONTENT}))
