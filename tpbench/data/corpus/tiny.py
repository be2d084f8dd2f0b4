"""Half a million words that are there wherever gensim is installed: texts of its tests, for tests of ours.

106 pages of Wikipedia and the 300 news texts of M. Lee, B. Pincombe and M. Welsh (An Empirical Evaluation of Models
of Text Document Similarity, 2005) from the directory ``test_data`` of gensim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from tpbench.data.corpus import prose
from tpbench.data.corpus.cache import NotReadyError
from tpbench.data.corpus.corpus import Material
from tpbench.data.corpus.packaged import text_of
from tpbench.data.corpus.questions import cities_and_states, find_questions, gensim_directory
from tpbench.data.corpus.words import words_of

LICENCE = "CC BY-SA, news texts as gensim (LGPL-2.1) has them"


def _lines(content: bytes) -> Iterator[str]:
    yield from content.decode("utf-8").splitlines()


FILES: Mapping[str, tuple[str, Callable[[bytes], Iterator[str]]]] = {
    prose.ENWIKI: ("a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d", prose.wiki_markup),
    "lee_background.cor": ("5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb", _lines),
}
"""The name of each file, its sha256, and how its prose is read."""


def find() -> Path:
    """Return the directory of gensim's test data. Raises ``NotReadyError`` when gensim or the texts are missing."""
    installed = gensim_directory()
    directory = None if installed is None else installed / "test" / "test_data"
    if directory is None or not all((directory / name).is_file() for name in FILES):
        raise NotReadyError(
            "the corpus 'tiny' is read from the texts of gensim's tests, which are not installed: run "
            "`pip install gensim`, or `pip install tpbench[corpus]`"
        )
    return directory


def material(directory: Path, tokens: int | None = None) -> Material:
    """Return the text, or its first ``tokens`` words, with questions and groups; a paragraph is a sentence.

    Raises ``NotReadyError`` when a text is not the one that is expected.
    """
    paragraphs = chain.from_iterable(read(_checked(directory / name, sha256)) for name, (sha256, read) in FILES.items())
    questions = find_questions()
    return Material(
        name="tiny",
        text=text_of("\n".join(filter(None, map(words_of, paragraphs))), tokens),
        questions=questions,
        groups=cities_and_states(questions),
        source="the test data of gensim 4: Wikipedia pages and the Lee background corpus",
        licence=LICENCE,
    )


def _checked(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise NotReadyError(
            f"{path} has sha256 {digest}, expected {sha256}: this gensim has other test data; install gensim 4.4"
        )
    return content
