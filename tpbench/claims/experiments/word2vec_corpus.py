"""The corpus that a word2vec configuration names. Imports no torch."""

from __future__ import annotations

import json
from functools import lru_cache

from tpbench.bench.claim import Config, canonical_json
from tpbench.data import corpus
from tpbench.data.corpus import planted
from tpbench.data.corpus.corpus import Corpus, build


def load(c: Config) -> Corpus:
    """Return the corpus that a configuration names; ``ValueError`` says what to do when it is not there."""
    return _load(c["corpus"], canonical_json(c["plan"]), c["tokens"], c["min_count"], c["top"], c["asked"])


@lru_cache(maxsize=2)
def _load(name: str, plan: str, tokens: int | None, min_count: int | None, top: int | None, asked: bool) -> Corpus:
    sizes = json.loads(plan)
    if not sizes:
        return corpus.load(name, tokens=tokens, min_count=min_count, top=top, asked=asked)
    if name != "planted":
        raise ValueError(f"a plan is the law of the planted corpus, and {name!r} is another: leave the plan out")
    text = planted.material(planted.Plan(**sizes), planted.TOKENS if tokens is None else tokens)
    return build(text, min_count=min_count or 1, top=top, asked=asked)
