"""The table of corpora: names, options, sharing, and the figures that it tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tpbench.data import corpus
from tpbench.data.corpus import CORPORA, NotReadyError, load, missing, questions, tiny
from tpbench.data.corpus.corpus import Material, build

NEEDS_GENSIM = pytest.mark.skipif(
    questions.gensim_directory() is None, reason="gensim is not installed: 'tiny' is not read"
)


@pytest.fixture(scope="module")
def texts() -> dict[str, Material]:
    return {name: CORPORA[name].read(None, None) for name in ("planted", "tiny")}


@NEEDS_GENSIM
@pytest.mark.parametrize("name", ["planted", "tiny"])
def test_the_figures_of_the_table_are_those_of_the_text(name: str, texts: dict[str, Material]) -> None:
    held = load(name)
    kind = CORPORA[name]
    assert len(texts[name].text.tokens) == kind.tokens
    assert len(held.vocabulary) == kind.words
    assert held.counts.min() == kind.min_count or name == "planted"
    assert (held.name, held.licence) == (name, kind.licence)
    assert not missing(name)


@NEEDS_GENSIM
class TestTiny:
    def test_vocabularies_are_nested_and_consistent(self, texts: dict[str, Material]) -> None:
        usual, few = load("tiny"), load("tiny", top=500)
        rare, frequent = (build(texts["tiny"], min_count=count, top=10**6) for count in (2, 100))
        assert build(texts["tiny"], min_count=5).digest == usual.digest
        assert rare.vocabulary[: len(usual.vocabulary)] == usual.vocabulary
        assert few.vocabulary == usual.vocabulary[:500]
        assert frequent.counts.min() >= 100
        np.testing.assert_array_equal(few.counts, usual.counts[:500])
        np.testing.assert_array_equal(few.tokens, usual.tokens[usual.tokens < 500])

    def test_the_first_tokens(self, texts: dict[str, Material]) -> None:
        part, whole = load("tiny", tokens=20_000, min_count=1), build(texts["tiny"])
        assert len(part.tokens) == 20_000
        spelled = [[held.vocabulary[token] for token in held.tokens[:20_000]] for held in (part, whole)]
        assert spelled[0] == spelled[1]
        np.testing.assert_array_equal(part.starts, whole.starts[whole.starts < 20_000])

    def test_it_is_english(self) -> None:
        held = load("tiny")
        assert {"the", "of", "and", "in"} <= set(held.vocabulary[:8])
        sizes = held.analogies.sizes()
        assert sizes["family"] == 90
        assert len(sizes) == 14
        a, b, c, d = (held.vocabulary[i] for i in held.analogies.questions[0])
        assert (a, b) == ("athens", "greece")
        assert (a, b, c, d) in questions.find_questions()["capital-common-countries"]

    def test_other_texts_are_refused(self, tmp_path: Path) -> None:
        for name in tiny.FILES:
            (tmp_path / name).write_bytes(b"other")
        with pytest.raises(NotReadyError, match=r"this gensim has other test data; install gensim 4.4"):
            tiny.material(tmp_path)


def test_without_gensim_tiny_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "gensim_directory", lambda: None)
    with pytest.raises(NotReadyError, match=r"pip install tpbench\[corpus\]"):
        load("tiny")
    assert "pip install gensim" in missing("tiny")


def test_the_last_results_are_shared_and_read_only() -> None:
    one = load("planted", tokens=20_000)
    assert load("planted", tokens=20_000, min_count=1) is one
    assert load("planted", tokens=20_000, top=100) is not one
    with pytest.raises(ValueError, match="read-only"):
        one.tokens[0] = 1


def test_unknown_names_get_a_near_one() -> None:
    with pytest.raises(ValueError, match=r"no corpus 'text9': did you mean 'text8'\? The corpora are planted, tiny"):
        load("text9")
    with pytest.raises(ValueError, match=r"no corpus 'zzz': no name is close"):
        corpus.prepare("zzz", print)


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'planted' takes no path, got .*: only text8 and fil9 are read"):
        load("planted", path=tmp_path)
    with pytest.raises(ValueError, match="tokens is at least 1, got 0"):
        load("planted", tokens=0)
    with pytest.raises(ValueError, match="top is at least 1, got 0"):
        load("planted", top=0)


def test_originals_are_missing_until_the_environment_names_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TPBENCH_TEXT8", raising=False)
    assert "set TPBENCH_TEXT8" in missing("text8")
    (tmp_path / "text8").write_bytes(b"short")
    monkeypatch.setenv("TPBENCH_TEXT8", str(tmp_path / "text8"))
    assert "has 5 bytes, but text8 has 100,000,000" in missing("text8")
    with pytest.raises(NotReadyError, match="has 5 bytes, but text8 has 100,000,000"):
        load("text8")
