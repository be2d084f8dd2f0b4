"""The analogy questions of T. Mikolov et al. (arXiv:1301.3781), and the cities and states among them.

The file ``questions-words.txt`` comes with gensim: 19,544 questions in 14 sections, each line four words, lowercased
here. All names in it are single words, so no question needs words joined. The cities are the 67 of its section
city-in-state. That section knows 27 states; the group of states has all fifty, the ten of two words under their
joined names (``new_york``), which occur in texts assembled here and not in text8 or fil9.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from tpbench.data.corpus.archives import wheel
from tpbench.data.corpus.cache import NotReadyError, cache_directory
from tpbench.data.corpus.corpus import Question
from tpbench.data.corpus.words import STATES

SHA256 = "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"
CITIES_AND_STATES = "city-in-state"
MEMBER = "gensim/test/test_data/questions-words.txt"


def gensim_directory() -> Path | None:
    """Return where gensim is installed, without importing it; None where it is not."""
    found = importlib.util.find_spec("gensim")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None


def find_questions() -> Mapping[str, tuple[Question, ...]]:
    """Return the questions by section, from the installed gensim or from a gensim wheel in the cache.

    Raises ``NotReadyError`` when neither has the file with the right digest.
    """
    seen = []
    installed = gensim_directory()
    if installed is not None:
        path = installed.parent / MEMBER
        if path.is_file():
            seen.append((str(path), path.read_bytes()))
    for path in sorted((cache_directory() / "packages").glob("gensim-*.whl")):
        seen += [(f"{name} in {path}", content) for name, content in wheel(path, MEMBER)]
    for _, content in seen:
        if hashlib.sha256(content).hexdigest() == SHA256:
            return parse(content.decode("ascii"))
    damaged = "".join(f" {where} has another digest than {SHA256}." for where, _ in seen)
    raise NotReadyError(
        "the analogy questions come with gensim, which was found neither installed nor in the cache as it should be."
        f"{damaged} Run `pip install gensim`, or `tpbench data prepare packaged`, which fetches it"
    )


def parse(text: str) -> dict[str, tuple[Question, ...]]:
    """Return the questions by section of a file in the format of word2vec, lowercased.

    A line ": name" begins a section, every other line is a question of four words. Raises ``ValueError`` naming the
    line that is neither.
    """
    sections: dict[str, list[Question]] = {}
    current: list[Question] | None = None
    for number, line in enumerate(text.lower().splitlines(), start=1):
        match line.split():
            case [":", name]:
                current = sections.setdefault(name, [])
            case [a, b, c, d] if current is not None:
                current.append((a, b, c, d))
            case []:
                pass
            case _:
                raise ValueError(f"line {number} of the analogy questions, {line!r}, is no section and no question")
    return {name: tuple(asked) for name, asked in sections.items()}


def cities_and_states(questions: Mapping[str, tuple[Question, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the groups of words whose geometry is plotted: the cities of the questions, and the fifty states."""
    asked = questions[CITIES_AND_STATES]
    cities = {city for a, _, c, _ in asked for city in (a, c)}
    return {"cities": tuple(sorted(cities)), "states": STATES}
