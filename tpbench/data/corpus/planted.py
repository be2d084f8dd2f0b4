"""A planted corpus: a text drawn from a law under which every analogy holds exactly.

There are G groups (think of lands) and R relations (country, capital, …). The entity e(i, r) is group i's word of
relation r, such as ``capital3``. A sentence is about one entity, drawn uniformly; the entity stands at a uniform
place in it and every other word is drawn independently from

    p(c | i, r) = α [(1 - ε) 1{c is a word of group i} / K + ε 1{c is a word of any group} / (G K)]
                + β [(1 - ε) 1{c is a word of relation r} / M + ε 1{c is a word of any relation} / (R M)]
                + γ zipf(c),          α + β + γ = 1,

with K words a group, M words a relation, and filler words with Zipf's law, zipf(z) proportional to 1/(z + 1).
A context word belongs to a group, to a relation or to neither, so log p(c | i, r) = A_c(i) + B_c(r) for every c: it
is additive in the effects of group and relation. Hence, for all groups i, j and relations r, s,

    log p(c | i, s) - log p(c | i, r) + log p(c | j, r) = log p(c | j, s)          for every context word c,

and the rows of pointwise mutual information, which word2vec factorises (O. Levy and Y. Goldberg, Neural Word
Embedding as Implicit Matrix Factorization, NeurIPS 2014), satisfy the parallelogram e(i, s) - e(i, r) + e(j, r) =
e(j, s) exactly. A sentence holds one entity only and contexts do not cross sentences, so the law of the words in a
window around an entity is p whatever the window.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpbench.data.corpus.corpus import Corpus, Counts, Material, Question, Text, build

LICENCE = "none needed"
TOKENS = 200_000
RELATIONS = ("country", "capital", "language", "currency")


@dataclass(frozen=True)
class Plan:
    """The sizes and shares of the law above.

    ``group_share`` is α, ``relation_share`` is β, and the filler has what they leave; ``noise`` is ε.
    ``sentence`` is the number of words of a sentence, the entity included. Raises ``ValueError`` where a size is too
    small for a question to exist, or the shares make no law in which every word can occur.
    """

    groups: int = 80
    relations: tuple[str, ...] = RELATIONS
    words_a_group: int = 3
    words_a_relation: int = 8
    filler_words: int = 200
    group_share: float = 0.3
    relation_share: float = 0.3
    noise: float = 0.25
    sentence: int = 11

    def __post_init__(self) -> None:
        if self.groups < 2 or len(set(self.relations)) < 2 or len(set(self.relations)) != len(self.relations):
            raise ValueError(
                "an analogy needs 2 groups and 2 relations with different names, got "
                f"{self.groups} groups and the relations {self.relations}"
            )
        for size in ("words_a_group", "words_a_relation", "filler_words"):
            if getattr(self, size) < 1:
                raise ValueError(f"a planted corpus needs {size} of at least 1, got {getattr(self, size)}")
        if self.sentence < 2:
            raise ValueError(f"a sentence has an entity and at least one other word, not {self.sentence} words")
        if not min(self.group_share, self.relation_share) > 0 or not self.group_share + self.relation_share < 1:
            raise ValueError(
                "the shares of group and relation words must be positive and leave some to filler words, got "
                f"{self.group_share} and {self.relation_share}"
            )
        if not 0 < self.noise < 1:
            raise ValueError(f"the noise lies between 0 and 1, without these, got {self.noise}")

    @property
    def entities(self) -> int:
        """The number of entities, G R."""
        return self.groups * len(self.relations)


def names(plan: Plan) -> tuple[str, ...]:
    """Return all words: entities by relation and then group, words of groups, words of relations, filler."""
    return (
        *(f"{relation}{group}" for relation in plan.relations for group in range(plan.groups)),
        *(f"of{group}word{k}" for group in range(plan.groups) for k in range(plan.words_a_group)),
        *(f"{relation}word{k}" for relation in plan.relations for k in range(plan.words_a_relation)),
        *(f"filler{z}" for z in range(plan.filler_words)),
    )


def context_law(plan: Plan) -> NDArray[np.float64]:
    """Return p(c | entity), float64 (entities, context words), both in the order of ``names``.

    Context words are all words but the entities. Every row sums to 1 and no entry is zero.
    """
    relations = len(plan.relations)
    of_group = _near(plan.groups, plan.words_a_group, plan.noise)
    of_relation = _near(relations, plan.words_a_relation, plan.noise)
    zipf = 1.0 / np.arange(1, plan.filler_words + 1)
    filler = np.tile(zipf / zipf.sum(), (plan.entities, 1))
    rest = 1.0 - plan.group_share - plan.relation_share
    return np.hstack(
        [
            plan.group_share * np.tile(of_group, (relations, 1)),
            plan.relation_share * np.repeat(of_relation, plan.groups, axis=0),
            rest * filler,
        ]
    )


def _near(kinds: int, words: int, noise: float) -> NDArray[np.float64]:
    """Return (kinds, kinds · words): the law of the words of a kind, with ``noise`` spread over all kinds."""
    own = np.repeat(np.eye(kinds), words, axis=1) / words
    return (1.0 - noise) * own + noise / (kinds * words)


def material(plan: Plan, tokens: int = TOKENS, seed: int = 0) -> Material:
    """Return a planted text of whole sentences, ``tokens`` words or up to a sentence less.

    The same plan, tokens and seed give the same text. Raises ``ValueError`` when there is room for no sentence.
    """
    sentences = tokens // plan.sentence
    if sentences < 1:
        raise ValueError(f"a planted sentence has {plan.sentence} words, so {tokens} tokens are too few")
    generator = np.random.default_rng(seed)
    about = generator.integers(plan.entities, size=sentences)
    place = generator.integers(plan.sentence, size=sentences)
    text = np.empty((sentences, plan.sentence), dtype=np.int32)
    is_context = np.arange(plan.sentence) != place[:, np.newaxis]
    text[is_context] = plan.entities + _draw(plan, np.repeat(about, plan.sentence - 1), generator)
    text[~is_context] = about
    starts: Counts = np.arange(sentences, dtype=np.int64) * plan.sentence
    return Material(
        name="planted",
        text=Text(names(plan), text.ravel(), starts),
        questions=_questions(plan),
        groups={name: tuple(f"{name}{group}" for group in range(plan.groups)) for name in plan.relations},
        source=f"synthetic: {plan.groups} groups by {len(plan.relations)} relations, seed {seed}",
        licence=LICENCE,
    )


def _draw(plan: Plan, about: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return a context word for each entity of ``about``, numbered as the columns of ``context_law``.

    One uniform number a word is looked up in the cumulative law of its entity; adding the entity's number makes
    all laws one rising sequence, so that one search serves all.
    """
    law = context_law(plan)
    cumulative = np.cumsum(law, axis=1)
    cumulative /= cumulative[:, -1:]
    rising = (cumulative + np.arange(plan.entities)[:, np.newaxis]).ravel()
    found = np.searchsorted(rising, about + generator.random(len(about)), side="right")
    # A uniform number next to 1 may be rounded up to the next entity's interval.
    drawn: NDArray[np.int64] = np.minimum(found - about * law.shape[1], law.shape[1] - 1)
    return drawn


def _questions(plan: Plan) -> dict[str, tuple[Question, ...]]:
    """Return, a section for every ordered pair of relations, the questions of all ordered pairs of groups."""
    pairs = list(itertools.permutations(range(plan.groups), 2))
    return {
        f"{a}-{b}": tuple((f"{a}{i}", f"{b}{i}", f"{a}{j}", f"{b}{j}") for i, j in pairs)
        for a, b in itertools.permutations(plan.relations, 2)
    }


def planted(
    groups: int = Plan.groups,
    relations: tuple[str, ...] = RELATIONS,
    tokens: int = TOKENS,
    seed: int = 0,
) -> Corpus:
    """Return the planted corpus of ``tokens`` tokens with all words that occur, their questions and groups.

    The group named after relation r lists e(0, r), e(1, r), … in this order. For another plan, build its
    ``material``. Raises what ``Plan`` and ``material`` raise.

    >>> small = planted(groups=3, relations=("country", "capital"), tokens=20_000)
    >>> small.analogies.sizes()
    {'country-capital': 6, 'capital-country': 6}
    """
    return build(material(Plan(groups=groups, relations=relations), tokens, seed))
