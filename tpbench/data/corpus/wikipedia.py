"""text8 and fil9: Wikipedia of 2006 as one line of letters a to z and spaces, from a file of the user.

M. Mahoney's ``wikifil.pl`` makes fil9 (also text9) from enwik9, and text8 is the first 100,000,000 bytes of it. They
are what TP4's word2vec experiment reads (arXiv:2011.14522). Length and md5 of text8 are those that public programs
check, which cite Mahoney's page (mattmahoney.net/dc/textdata). The sha1 of fil9 is GluonNLP's for the unpacked file
(``gluonnlp/data/large_text_compression.py``, class Fil9), its length the one that preparation scripts check.

Both are one endless line. Like word2vec's own code, with its MAX_SENTENCE_LENGTH, sentences are 1000 words: words in
the vocabulary, counted here before subsampling (there after it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tpbench.data.corpus.cache import NotReadyError, file_digest
from tpbench.data.corpus.corpus import Material, number_words
from tpbench.data.corpus.questions import cities_and_states, find_questions

LICENCE = "GFDL"
SENTENCE_LENGTH = 1000
CHUNK = 1 << 22
"""Bytes whose words are held as Python objects at a time."""


@dataclass(frozen=True)
class Original:
    """What the user's file must be: its length in bytes and a digest of it."""

    name: str
    variable: str
    length: int
    algorithm: str
    digest: str
    recipe: str


TEXT8 = Original(
    "text8",
    "TPBENCH_TEXT8",
    100_000_000,
    "md5",
    "3bea1919949baf155f99411df5fada7e",
    "unpack Mahoney's text8.zip, or gensim-data's text8",
)
FIL9 = Original(
    "fil9",
    "TPBENCH_FIL9",
    713_069_767,
    "sha1",
    "08caf9b1d5600233aa19cb6b25d7b798558304d3",
    "unpack enwik9 and run Mahoney's `perl wikifil.pl enwik9 > fil9`",
)
ORIGINALS: Mapping[str, Original] = {original.name: original for original in (TEXT8, FIL9)}


def find(original: Original, path: Path | str | None = None) -> Path:
    """Return the user's file: ``path``, or without it the file that the environment variable names.

    Raises ``NotReadyError`` when none is named, there is no such file, or it has another length.
    """
    named = os.environ.get(original.variable)
    if path is None and not named:
        raise NotReadyError(
            f"the corpus {original.name!r} is read from a file of yours: {original.recipe}; then set "
            f"{original.variable} to the path of the file, or give the path"
        )
    reason = "the path that was given" if path is not None else f"the value of {original.variable}"
    found = Path(path if path is not None else str(named))
    if not found.is_file():
        raise NotReadyError(f"there is no file {found} ({reason}) to read {original.name!r} from: {original.recipe}")
    length = found.stat().st_size
    if length != original.length:
        raise NotReadyError(
            f"{found} has {length:,} bytes, but {original.name} has {original.length:,}: {original.recipe}"
        )
    return found


def check(original: Original, path: Path) -> None:
    """Raise ``NotReadyError`` unless the file has the digest of the original."""
    digest = file_digest(path, original.algorithm)
    if digest != original.digest:
        raise NotReadyError(
            f"{path} has {original.algorithm} {digest}, but {original.name} has {original.digest}: the file is "
            f"damaged or another text; {original.recipe}"
        )


def material(original: Original, path: Path, tokens: int | None = None) -> Material:
    """Return the text, or its first ``tokens`` words, with questions and groups.

    Raises ``NotReadyError`` when the file is not the original, or the questions cannot be found.
    """
    check(original, path)
    questions = find_questions()
    return Material(
        name=original.name,
        text=number_words(_chunks(path), tokens),
        questions=questions,
        groups=cities_and_states(questions),
        source=f"Wikipedia of 2006-03-03 cleaned by M. Mahoney ({original.algorithm} {original.digest})",
        licence=LICENCE,
        sentence_length=SENTENCE_LENGTH,
    )


def _chunks(path: Path) -> Iterator[list[str]]:
    """Yield the words of the file by the chunk; a word that a chunk's end cuts goes whole into the next one."""
    rest = b""
    with path.open("rb") as file:
        while read := file.read(CHUNK):
            whole, _, rest = (rest + read).rpartition(b" ")
            yield whole.decode("ascii").split()
    yield rest.decode("ascii").split()
