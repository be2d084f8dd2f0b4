"""The corpus noun: a slow obvious road for numbering, vocabulary, sentences and questions, and every fault refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.data.corpus.corpus import SENTENCE_END, Analogies, Corpus, Material, build, number_words

SENTENCES = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=9), max_size=8)
QUESTIONS = {"one": (("a", "b", "c", "d"), ("a", "b", "e", "f")), "none": (("a", "b", "c", "zebra"),)}


def chunks_of(sentences: list[list[str]], size: int) -> list[list[str]]:
    """All words with an end after each sentence, in chunks of ``size``."""
    flat = [word for sentence in sentences for word in (*sentence, SENTENCE_END)]
    return [flat[at : at + size] for at in range(0, len(flat), size)]


def made(sentences: list[list[str]], size: int = 4, limit: int | None = None, length: int | None = None) -> Material:
    text = number_words(chunks_of(sentences, size), limit)
    return Material("made", text, QUESTIONS, {"vowels": ("e", "a", "i")}, "here", "none", length)


def spelled(corpus: Corpus) -> list[list[str]]:
    """The sentences of a corpus as words."""
    bounds = [*corpus.starts.tolist(), len(corpus.tokens)]
    return [[corpus.vocabulary[token] for token in corpus.tokens[a:b]] for a, b in pairwise(bounds)]


def obvious(
    sentences: list[list[str]], min_count: int, top: int | None, limit: int | None, length: int | None
) -> tuple[list[str], list[list[str]]]:
    """Vocabulary and sentences by loops over Python lists."""
    left = 10**9 if limit is None else limit
    cut = []
    for sentence in sentences:
        cut.append(sentence[:left])
        left -= len(cut[-1])
    counts = Counter(word for sentence in cut for word in sentence)
    words = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))[:top]
    kept = [[word for word in sentence if word in words] for sentence in cut]
    pieces = [s[at : at + (length or 10**9)] for s in kept for at in range(0, len(s), length or 10**9)]
    return words, pieces


@given(
    sentences=SENTENCES,
    size=st.integers(1, 12),
    min_count=st.integers(1, 3),
    top=st.none() | st.integers(2, 5),
    limit=st.none() | st.integers(1, 40),
    length=st.none() | st.integers(1, 4),
)
def test_a_corpus_is_what_loops_over_words_make(
    sentences: list[list[str]], size: int, min_count: int, top: int | None, limit: int | None, length: int | None
) -> None:
    words, pieces = obvious(sentences, min_count, top, limit, length)
    material = made(sentences, size, limit, length)
    if len(words) < 2:
        with pytest.raises(ValueError, match=f"{len(words)} of .* words are left"):
            build(material, min_count=min_count, top=top)
        return
    corpus = build(material, min_count=min_count, top=top)
    assert list(corpus.vocabulary) == words
    assert spelled(corpus) == pieces
    assert corpus.counts.tolist() == [sum(s.count(word) for s in pieces) for word in words]
    asked = [q for q in QUESTIONS["one"] if set(q) <= set(words)]
    assert [tuple(words[i] for i in row) for row in corpus.analogies.questions] == asked
    assert corpus.analogies.sizes() == {"one": len(asked), "none": 0}
    assert [words[i] for i in corpus.groups["vowels"]] == [w for w in ("e", "a", "i") if w in words]


@given(sentences=SENTENCES, size=st.integers(1, 12))
def test_chunks_make_no_difference(sentences: list[list[str]], size: int) -> None:
    one, other = (number_words(chunks_of(sentences, some)) for some in (size, 1000))
    assert one.words == other.words
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.starts, other.starts)


def test_no_more_chunks_are_asked_for_than_needed() -> None:
    asked = []

    def chunks() -> object:
        for chunk in (["a", "b"], ["c", SENTENCE_END, "d"], ["never"]):
            asked.append(chunk)
            yield chunk

    text = number_words(chunks(), limit=3)  # type: ignore[arg-type]
    assert [text.words[token] for token in text.tokens] == ["a", "b", "c"]
    assert len(asked) == 2


SMALL = build(made([list("aabbbcd"), list("efab")]))


class TestCorpus:
    def test_arrays_are_read_only_and_not_shared_with_what_can_be_written(self) -> None:
        arrays = (SMALL.tokens, SMALL.counts, SMALL.starts, SMALL.groups["vowels"], SMALL.analogies.questions)
        assert not any(array.flags.writeable for array in arrays)
        tokens = SMALL.tokens.copy()
        corpus = replace(SMALL, tokens=tokens)
        tokens[:] = 0
        np.testing.assert_array_equal(corpus.tokens, SMALL.tokens)
        with pytest.raises(TypeError, match="mappingproxy"):
            SMALL.groups["more"] = SMALL.tokens  # type: ignore[index]

    def test_the_digest_names_all_that_it_should(self) -> None:
        assert replace(SMALL, name="other", source="there", licence="any").digest == SMALL.digest
        questions = replace(SMALL.analogies, questions=SMALL.analogies.questions[:, ::-1].copy())
        swapped = SMALL.tokens[::-1].copy()
        others = [
            replace(SMALL, tokens=swapped),
            replace(SMALL, starts=np.array([0], dtype=np.int64)),
            replace(SMALL, vocabulary=(*SMALL.vocabulary[:-1], "z")),
            replace(SMALL, analogies=questions),
            replace(SMALL, analogies=replace(SMALL.analogies, names=("one", "two"))),
            replace(SMALL, groups={"consonants": SMALL.groups["vowels"]}),
            replace(SMALL, groups={"vowels": SMALL.groups["vowels"][::-1].copy()}),
        ]
        assert len({SMALL.digest, *(other.digest for other in others)}) == len(others) + 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"tokens": SMALL.tokens.astype(np.int64)}, "tokens must be int32"),
            ({"tokens": SMALL.tokens[:0]}, "at least one"),
            ({"tokens": SMALL.tokens + np.int32(1)}, "a token is number 6; there are 6"),
            ({"tokens": SMALL.tokens - np.int32(1)}, "a token is number -1"),
            ({"tokens": SMALL.tokens[:-1]}, "counts must be int64"),
            ({"counts": SMALL.counts.astype(np.int32)}, "counts must be int64"),
            ({"vocabulary": ("b", "a", "d", "c", "e", "f")}, "by the alphabet where counts tie"),
            ({"vocabulary": ("b", "a", "c", "d", "e", "e")}, "listed once"),
            ({"starts": np.array([1, 7])}, "rise strictly from 0"),
            ({"starts": np.array([0, 7, 7])}, "rise strictly from 0"),
            ({"starts": np.array([0, 11])}, "below the 11 tokens"),
            ({"starts": np.array([], dtype=np.int64)}, "starts must be int64"),
            ({"groups": {"far": np.array([6], dtype=np.int32)}}, "the group 'far' is number 6"),
            (
                {"analogies": replace(SMALL.analogies, questions=SMALL.analogies.questions + np.int32(3))},
                "the analogy questions is number",
            ),
        ],
    )
    def test_faults_are_refused(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            replace(SMALL, **change)  # type: ignore[arg-type]

    def test_words_out_of_order_are_refused(self) -> None:
        renumbered = np.array([1, 0, 2, 3, 4, 5], dtype=np.int32)[SMALL.tokens]
        with pytest.raises(ValueError, match="falling count"):
            replace(SMALL, tokens=renumbered, counts=np.bincount(renumbered))

    @pytest.mark.parametrize("option", ["min_count", "top"])
    def test_numbers_below_one_are_refused(self, option: str) -> None:
        with pytest.raises(ValueError, match=f"{option} is at least 1, got 0"):
            build(made([list("ab")]), **{option: 0})


class TestAnalogies:
    @pytest.mark.parametrize(
        ("questions", "section", "message"),
        [
            (np.zeros((2, 3), dtype=np.int32), np.zeros(2, dtype=np.int32), r"shape \(questions, 4\)"),
            (np.zeros((2, 4), dtype=np.int64), np.zeros(2, dtype=np.int32), "int32"),
            (np.zeros((2, 4), dtype=np.int32), np.zeros(3, dtype=np.int32), "one a question"),
            (np.zeros((2, 4), dtype=np.int32), np.ones(2, dtype=np.int32), "is number 1; there are 1"),
        ],
    )
    def test_faults_are_refused(
        self, questions: np.ndarray[tuple[int, int], np.dtype[np.int32]], section: object, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Analogies(questions, section, ("one",))  # type: ignore[arg-type]


def test_a_small_vocabulary_keeps_the_words_that_are_asked_for() -> None:
    """``asked`` adds the words of questions and groups that occur often enough, and no other."""
    often = ["z"] * 9 + ["y"] * 8 + list("aaabbbccccdd") + ["e"]
    plain, kept, rarer = (
        build(made([often]), top=2),
        build(made([often]), top=2, asked=True),
        build(made([often]), min_count=3, top=2, asked=True),
    )
    assert plain.vocabulary == ("z", "y")
    assert kept.vocabulary == ("z", "y", "c", "a", "b", "d", "e")
    assert rarer.vocabulary == ("z", "y", "c", "a", "b")
    assert kept.analogies.sizes() == {"one": 1, "none": 0}
    assert set(kept.groups["vowels"]) == {kept.vocabulary.index("a"), kept.vocabulary.index("e")}
