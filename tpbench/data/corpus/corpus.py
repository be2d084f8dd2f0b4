"""A text as word2vec reads it: word numbers in order, sentences, and the questions its vocabulary can answer.

Three nouns, in the order in which they are made: a ``Text`` numbers the words as they come; ``Material`` adds
the questions, groups and sources; a ``Corpus`` is what remains once a vocabulary is chosen.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tpbench.data.dataset import digest_of, freeze

Numbers: TypeAlias = NDArray[np.int32]
Counts: TypeAlias = NDArray[np.int64]
Question: TypeAlias = tuple[str, str, str, str]

SENTENCE_END = "\n"
"""Stands between sentences in a list of words. No word contains it."""


@dataclass(frozen=True, eq=False)
class Analogies:
    """Questions "a is to b as c is to d", as word numbers.

    ``questions`` is int32 (questions, 4): a, b, c and the answer d. ``section`` is int32 (questions,): which of
    ``names`` a question belongs to; a section without questions keeps its name. Both arrays are read-only.

    Raises ``ValueError`` when shapes, types or section numbers disagree with this.
    """

    questions: Numbers = field(repr=False)
    section: Numbers = field(repr=False)
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.questions.dtype != np.int32 or self.questions.ndim != 2 or self.questions.shape[1] != 4:
            raise ValueError(
                f"analogy questions must be int32 of shape (questions, 4), got {self.questions.dtype} of shape "
                f"{self.questions.shape}"
            )
        if self.section.dtype != np.int32 or self.section.shape != self.questions.shape[:1]:
            raise ValueError(
                f"the sections of {len(self.questions)} analogy questions must be int32, one a question, got "
                f"{self.section.dtype} of shape {self.section.shape}"
            )
        _check_below(self.section, len(self.names), "a section of the analogy questions")
        object.__setattr__(self, "questions", _kept(self.questions))
        object.__setattr__(self, "section", _kept(self.section))

    def sizes(self) -> dict[str, int]:
        """Return the number of questions of every section, zeros included."""
        counted = np.bincount(self.section, minlength=len(self.names))
        return dict(zip(self.names, counted.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text whose words are numbered by falling count, with the analogies and groups that it can answer for.

    ``vocabulary`` lists the words, the most frequent first and equal counts in alphabetical order; ``counts`` is
    int64 (words,), how often each occurs in ``tokens``. ``tokens`` is int32 (tokens,): the numbers of the words of
    the text in order, words outside the vocabulary left out. ``starts`` is int64 (sentences,): where each sentence
    begins in ``tokens``; the first is 0, none is empty, and contexts do not cross a start. ``groups`` are named
    lists of word numbers, such as cities. ``digest`` is the sha256 of vocabulary, tokens, starts, analogies and
    groups. All arrays are read-only; one that the caller could still write to is copied.

    Raises ``ValueError`` when the parts disagree with this.
    """

    name: str
    vocabulary: tuple[str, ...] = field(repr=False)
    counts: Counts = field(repr=False)
    tokens: Numbers = field(repr=False)
    starts: Counts = field(repr=False)
    analogies: Analogies = field(repr=False)
    groups: Mapping[str, Numbers] = field(repr=False)
    source: str
    licence: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        words = len(self.vocabulary)
        if self.tokens.dtype != np.int32 or self.tokens.ndim != 1 or self.tokens.size == 0:
            raise ValueError(
                f"corpus {self.name!r}: tokens must be int32 in one dimension, at least one, got {self.tokens.dtype} "
                f"of shape {self.tokens.shape}"
            )
        _check_below(self.tokens, words, f"corpus {self.name!r}: a token")
        _check_below(self.analogies.questions, words, f"corpus {self.name!r}: a word of the analogy questions")
        for name, members in self.groups.items():
            _check_below(members, words, f"corpus {self.name!r}: a word of the group {name!r}")
        _check_counts(self)
        _check_starts(self.name, self.starts, len(self.tokens))
        for name in ("counts", "tokens", "starts"):
            object.__setattr__(self, name, _kept(getattr(self, name)))
        groups = {name: freeze(members.astype(np.int32)) for name, members in self.groups.items()}
        object.__setattr__(self, "groups", MappingProxyType(groups))
        object.__setattr__(self, "digest", _digest(self))


def _check_below(numbers: NDArray[np.integer], limit: int, what: str) -> None:
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < limit):
        wrong = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(f"{what} is number {wrong}; there are {limit}, numbered from 0")


def _check_counts(corpus: Corpus) -> None:
    name, words, counts = corpus.name, corpus.vocabulary, corpus.counts
    counted = np.bincount(corpus.tokens, minlength=len(words))
    if counts.dtype != np.int64 or counts.shape != (len(words),) or not np.array_equal(counts, counted):
        raise ValueError(f"corpus {name!r}: counts must be int64, how often each of the {len(words)} words occurs")
    if len(set(words)) != len(words) or not counts.all():
        raise ValueError(f"corpus {name!r}: every word of the vocabulary must be listed once and must occur")
    falling = counts[:-1] - counts[1:]
    tied_wrong = [i for i in np.flatnonzero(falling == 0) if words[i] > words[i + 1]]
    if (falling < 0).any() or tied_wrong:
        raise ValueError(f"corpus {name!r}: words must come by falling count, and by the alphabet where counts tie")


def _check_starts(name: str, starts: Counts, tokens: int) -> None:
    good = starts.dtype == np.int64 and starts.ndim == 1 and starts.size > 0
    if not good or starts[0] != 0 or starts[-1] >= tokens or not (np.diff(starts) > 0).all():
        raise ValueError(
            f"corpus {name!r}: starts must be int64, rise strictly from 0 and stay below the {tokens} tokens"
        )


def _kept(array: NDArray[np.generic]) -> NDArray[np.generic]:
    # A read-only view of a writable array is no protection, so only an array that owns its memory is kept.
    return array if array.flags.owndata and not array.flags.writeable else freeze(array.copy())


def _digest(corpus: Corpus) -> str:
    analogies = corpus.analogies
    parts: list[bytes | str] = ["\n".join(corpus.vocabulary), "\n".join(analogies.names)]
    for array, kind in ((corpus.tokens, "<i4"), (corpus.starts, "<i8"), (analogies.questions, "<i4")):
        parts.append(array.astype(kind, copy=False).tobytes())
    parts.append(analogies.section.astype("<i4", copy=False).tobytes())
    for name, members in sorted(corpus.groups.items()):
        parts += [name, members.astype("<i4").tobytes()]
    return digest_of(parts)


@dataclass(frozen=True, eq=False)
class Text:
    """Words numbered in the order in which they first come: ``words[tokens[i]]`` is the i-th word of the text.

    ``tokens`` is int32 (tokens,); ``starts`` is int64 (sentences,), as in ``Corpus``.
    """

    words: tuple[str, ...]
    tokens: Numbers
    starts: Counts


def number_words(chunks: Iterable[list[str]], limit: int | None = None) -> Text:
    """Return the text of lists of words, among which ``SENTENCE_END`` stands between sentences.

    A chunk may end anywhere between two words. Takes the first ``limit`` words at most, and asks for no chunk
    that it does not need. Numbering is one C loop over a dictionary that hands out the next number, so 17 million
    words take seconds, and only one chunk's words are held as Python objects at a time.
    """
    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    end = numbers[SENTENCE_END]
    parts, words = [], 0
    for chunk in chunks:
        part = np.fromiter(map(numbers.__getitem__, chunk), dtype=np.int32, count=len(chunk))
        parts.append(part)
        words += int(np.count_nonzero(part != end))
        if limit is not None and words >= limit:
            break
    everything = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    ends = np.flatnonzero(everything == end)
    starts = np.append(0, ends - np.arange(len(ends)))  # an end has as many words before it as places, less ends
    tokens = everything[everything != end] - 1  # the sentence end has number 0
    if limit is not None:
        tokens = tokens[:limit]
    known = tuple(numbers)[1:]
    return Text(known, tokens, _not_empty(starts, len(tokens)))


def _not_empty(starts: Counts, tokens: int) -> Counts:
    """Return the starts of the sentences that have a token; ``starts`` rises, with ties at empty sentences."""
    ends = np.append(starts[1:], tokens)
    return starts[(starts < ends) & (starts < tokens)]


@dataclass(frozen=True, eq=False)
class Material:
    """All of a corpus but its vocabulary: the text, questions by section, groups of words, and the sources.

    ``sentence_length`` cuts every sentence after that many in-vocabulary words; None cuts nothing.
    """

    name: str
    text: Text
    questions: Mapping[str, tuple[Question, ...]]
    groups: Mapping[str, tuple[str, ...]]
    source: str
    licence: str
    sentence_length: int | None = None


def build(material: Material, *, min_count: int = 1, top: int | None = None, asked: bool = False) -> Corpus:
    """Return the corpus of the words that occur at least ``min_count`` times, the ``top`` most frequent of them.

    ``asked`` keeps, beyond the most frequent, every word of the questions and groups that occurs so often: a small
    vocabulary can then answer all that a large one can.

    Other words leave the text before contexts are formed, as in word2vec's own code. Questions whose four words
    are not all in the vocabulary are left out, and so are words of groups. Raises ``ValueError`` when a number is
    below 1 or when fewer than two words remain.
    """
    for option, value in (("min_count", min_count), ("top", top)):
        if value is not None and value < 1:
            raise ValueError(f"corpus {material.name!r}: {option} is at least 1, got {value}")
    text = material.text
    counts = np.bincount(text.tokens, minlength=len(text.words))
    kept = np.flatnonzero(counts >= min_count)
    order = sorted(kept.tolist(), key=lambda word: (-counts[word], text.words[word]))
    wanted = _asked(material) if asked else frozenset()
    order = [word for place, word in enumerate(order) if top is None or place < top or text.words[word] in wanted]
    if len(order) < 2:
        raise ValueError(
            f"corpus {material.name!r}: {len(order)} of {len(text.words)} words are left with min_count={min_count} "
            f"and top={top}; a vocabulary needs 2: ask for a lower count or for more tokens"
        )
    vocabulary = tuple(text.words[word] for word in order)
    number = {word: place for place, word in enumerate(vocabulary)}
    tokens, starts = _renumbered(text, np.array(order), material.sentence_length)
    return Corpus(
        name=material.name,
        vocabulary=vocabulary,
        counts=freeze(np.bincount(tokens, minlength=len(vocabulary))),
        tokens=freeze(tokens),
        starts=freeze(starts),
        analogies=_answerable(material.questions, number),
        groups={
            name: np.array([number[word] for word in words if word in number], dtype=np.int32)
            for name, words in material.groups.items()
        },
        source=material.source,
        licence=material.licence,
    )


def _asked(material: Material) -> frozenset[str]:
    """Return all words of the questions and groups."""
    questions = (word for section in material.questions.values() for question in section for word in question)
    return frozenset((*questions, *(word for words in material.groups.values() for word in words)))


def _renumbered(text: Text, order: NDArray[np.intp], length: int | None) -> tuple[Numbers, Counts]:
    """Return tokens and starts once the words ``order`` are numbered 0, 1, … and all others are gone."""
    numbers = np.full(len(text.words), -1, dtype=np.int32)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    tokens = numbers[text.tokens]
    is_kept = tokens >= 0
    sizes = np.add.reduceat(is_kept, text.starts, dtype=np.int64)
    sizes = sizes[sizes > 0]
    if length is not None:
        sizes = _cut(sizes, length)
    return tokens[is_kept], np.cumsum(sizes) - sizes


def _cut(sizes: Counts, length: int) -> Counts:
    """Return the sizes of sentences once every one is cut into pieces of ``length``, the last piece shorter."""
    pieces = -(-sizes // length)
    cut = np.full(pieces.sum(), length, dtype=np.int64)
    cut[np.cumsum(pieces) - 1] = sizes - length * (pieces - 1)
    return cut


def _answerable(questions: Mapping[str, tuple[Question, ...]], number: Mapping[str, int]) -> Analogies:
    rows: list[list[int]] = []
    section: list[int] = []
    for place, asked in enumerate(questions.values()):
        found = [[number[word] for word in words] for words in asked if all(word in number for word in words)]
        rows += found
        section += [place] * len(found)
    return Analogies(
        questions=freeze(np.array(rows, dtype=np.int32).reshape(-1, 4)),
        section=freeze(np.array(section, dtype=np.int32)),
        names=tuple(questions),
    )
