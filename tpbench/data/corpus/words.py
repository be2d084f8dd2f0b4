"""From prose to words: lowercase letters with apostrophes inside, and the ten states of two words as one.

Accents are dropped (São Tomé becomes sao tome); every other character outside a to z ends a word.
"""

from __future__ import annotations

import re
import unicodedata

_STATES = """
    alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois
    indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri
    montana nebraska nevada new_hampshire new_jersey new_mexico new_york north_carolina north_dakota ohio oklahoma
    oregon pennsylvania rhode_island south_carolina south_dakota tennessee texas utah vermont virginia washington
    west_virginia wisconsin wyoming
"""
STATES = tuple(_STATES.split())
"""The fifty states of the USA. The underscore joins what a text writes as two words."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'"})
_PAIR = re.compile(rf"\b(?:{'|'.join(state.replace('_', ' ') for state in STATES if '_' in state)})\b")


def words_of(prose: str) -> str:
    """Return the words of a piece of prose, with one space between two words.

    >>> words_of("Gabriel García's house in New York, 1920")
    "gabriel garcia's house in new_york"
    """
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", prose.translate(_QUOTES))).lower()
    return _PAIR.sub(lambda match: match[0].replace(" ", "_"), " ".join(_WORD.findall(plain)))
