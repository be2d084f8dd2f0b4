"""text8 and fil9 on a small synthetic file with its own length and digest: found, checked, cut into sentences."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tpbench.data import corpus
from tpbench.data.corpus import wikipedia
from tpbench.data.corpus.cache import NotReadyError
from tpbench.data.corpus.corpus import build
from tpbench.data.corpus.wikipedia import FIL9, TEXT8, Original, check, find, material

WORDS = ["anarchism", "originated", "athens", "greece", "baghdad", "iraq", "a"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Original, Path, list[str]]:
    """An original of 5,000 random words, its path, and the words. As in text8, a space comes first and none last."""
    generator = np.random.default_rng(0)
    words = [WORDS[i] for i in generator.integers(len(WORDS), size=5000)]
    content = (" " + " ".join(words)).encode()
    path = tmp_path / "small"
    path.write_bytes(content)
    monkeypatch.setattr(wikipedia, "find_questions", lambda: QUESTIONS)
    digest = hashlib.sha1(content).hexdigest()
    return Original("small", "TPBENCH_SMALL", len(content), "sha1", digest, "make it"), path, words


QUESTIONS = {
    "capitals": (("athens", "greece", "baghdad", "iraq"), ("athens", "greece", "oslo", "norway")),
    "city-in-state": (("dallas", "texas", "reno", "nevada"),),
}


@pytest.mark.parametrize("chunk", [7, 64, 1 << 22])
def test_the_words_come_back_in_sentences_of_a_thousand(
    small: tuple[Original, Path, list[str]], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wikipedia, "CHUNK", chunk)
    original, path, words = small
    held = build(material(original, path))
    assert [held.vocabulary[token] for token in held.tokens] == words
    assert held.starts.tolist() == [0, 1000, 2000, 3000, 4000]
    assert held.analogies.sizes() == {"capitals": 1, "city-in-state": 0}
    first = build(material(original, path, tokens=1500), top=3)
    assert [first.vocabulary[token] for token in first.tokens] == [w for w in words[:1500] if w in first.vocabulary]
    assert first.starts.tolist() == [0]


def test_a_file_that_is_not_the_original_is_refused(small: tuple[Original, Path, list[str]]) -> None:
    original, path, _ = small
    check(original, path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(NotReadyError, match=f"has {len(content) - 1:,} bytes, but small has {len(content):,}: make it"):
        find(original, path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(NotReadyError, match=f"sha1 .*, but small has {original.digest}: .*damaged"):
        material(original, path)


def test_the_path_is_given_or_in_the_environment(
    small: tuple[Original, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, path, _ = small
    monkeypatch.delenv("TPBENCH_SMALL", raising=False)
    with pytest.raises(NotReadyError, match=r"make it; then set TPBENCH_SMALL"):
        find(original)
    monkeypatch.setenv("TPBENCH_SMALL", str(path))
    assert find(original) == path
    with pytest.raises(NotReadyError, match=r"no file .*elsewhere \(the path that was given\)"):
        find(original, path / "elsewhere")
    monkeypatch.setenv("TPBENCH_SMALL", str(path.parent))
    with pytest.raises(NotReadyError, match=r"no file .* \(the value of TPBENCH_SMALL\)"):
        find(original)


def test_the_lengths_are_those_of_the_published_files() -> None:
    """text8 is the first 10^8 bytes of the cleaned text, and about a seventh of fil9's 713 MB."""
    assert TEXT8.length == 10**8
    assert 7 < FIL9.length / TEXT8.length < 7.2
    assert {original.algorithm: len(original.digest) for original in (TEXT8, FIL9)} == {"md5": 32, "sha1": 40}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("original", "types", "english"), [(TEXT8, 253_854, 11_868), (FIL9, 833_184, 56_767)], ids=["text8", "fil9"]
)
def test_the_real_file(original: Original, types: int, english: int) -> None:
    """Different words, and how often "english" occurs, are those of GluonNLP's tests."""
    if corpus.missing(original.name):
        pytest.skip(f"{original.variable} names no file: the real {original.name} is not read")
    kind = corpus.kind(original.name)
    read = kind.read(None, None)
    assert len(read.text.tokens) == kind.tokens
    assert len(read.text.words) == types
    held = build(read, min_count=kind.min_count)
    assert len(held.vocabulary) == kind.words
    assert held.counts[held.vocabulary.index("english")] == english
