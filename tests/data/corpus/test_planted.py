"""The planted corpus: its analogies hold exactly in the law, the text follows the law, and a network finds them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tpbench.data.corpus.corpus import Corpus, build
from tpbench.data.corpus.planted import RELATIONS, Plan, context_law, material, names, planted

PLANS = [
    Plan(),
    Plan(groups=7, relations=("country", "capital"), words_a_group=2, words_a_relation=5, filler_words=11, noise=0.4),
    Plan(groups=5, relations=("a", "b", "c"), group_share=0.6, relation_share=0.1, noise=0.01),
]


@pytest.mark.parametrize("plan", PLANS)
class TestLaw:
    def test_every_row_is_a_law_in_which_every_word_can_occur(self, plan: Plan) -> None:
        law = context_law(plan)
        assert law.shape == (plan.entities, len(names(plan)) - plan.entities)
        assert law.min() > 0
        np.testing.assert_allclose(law.sum(axis=1), 1, rtol=1e-12)

    def test_the_law_is_the_formula_of_the_docstring(self, plan: Plan) -> None:
        words = names(plan)
        law = context_law(plan)
        eps, groups, relations = plan.noise, plan.groups, len(plan.relations)
        zipf = [1 / (z + 1) for z in range(plan.filler_words)]
        for entity in (0, groups, plan.entities - 1):
            relation, group = plan.relations[entity // groups], entity % groups
            assert words[entity] == f"{relation}{group}"
            for column, word in enumerate(words[plan.entities :]):
                kind, _, k = word.rpartition("word")
                if word.startswith("filler"):
                    z = int(word.removeprefix("filler"))
                    expected = (1 - plan.group_share - plan.relation_share) * zipf[z] / sum(zipf)
                elif kind.startswith("of"):
                    own = (1 - eps) * (kind == f"of{group}") + eps / groups
                    expected = plan.group_share * own / plan.words_a_group
                else:
                    own = (1 - eps) * (kind == relation) + eps / relations
                    expected = plan.relation_share * own / plan.words_a_relation
                assert law[entity, column] == pytest.approx(expected, rel=1e-12), (word, k)

    def test_every_question_closes_its_parallelogram_and_no_other_answer_does(self, plan: Plan) -> None:
        """PMI(e, c) = log p(c | e) - log p(c): the second term falls out, so this is exact for PMI rows."""
        corpus = build(material(plan, tokens=60_000))
        row = {word: entity for entity, word in enumerate(names(plan)[: plan.entities])}
        entity = np.array([row.get(word, -1) for word in corpus.vocabulary])[corpus.analogies.questions]
        assert entity.min() >= 0
        relations = len(plan.relations)
        assert len(entity) == plan.groups * (plan.groups - 1) * relations * (relations - 1)
        marginal = context_law(plan).mean(axis=0)
        pmi = np.log(context_law(plan)) - np.log(marginal)
        # All questions at once: the step from relation r to s is the same for every group.
        steps = np.diff(pmi.reshape(relations, plan.groups, -1), axis=0)
        assert np.ptp(steps, axis=1).max() < 1e-12
        a, b, c, d = entity.T
        rng = np.random.default_rng(0)
        some = rng.choice(len(entity), size=min(len(entity), 2000), replace=False)
        assert np.abs(pmi[b[some]] - pmi[a[some]] + pmi[c[some]] - pmi[d[some]]).max() < 1e-12
        for question in rng.choice(len(entity), size=20, replace=False):
            target = pmi[b[question]] - pmi[a[question]] + pmi[c[question]]
            distance = np.linalg.norm(pmi - target, axis=1)
            distance[d[question]] = np.inf
            assert distance.min() > 1e-2

    def test_the_text_follows_the_law(self, plan: Plan) -> None:
        """Counts of context words in the sentences of each entity against the law, by a chi-squared of all cells."""
        text = material(plan, tokens=400_000, seed=3).text
        sentences = text.tokens.reshape(-1, plan.sentence)
        is_entity = sentences < plan.entities
        np.testing.assert_array_equal(is_entity.sum(axis=1), 1)
        about = sentences[is_entity]
        law = context_law(plan)
        context = sentences[~is_entity].reshape(len(sentences), -1) - plan.entities
        cells = np.zeros_like(law)
        np.add.at(cells, (np.repeat(about, plan.sentence - 1), context.ravel()), 1)
        expected = cells.sum(axis=1, keepdims=True) * law
        freedom = law.size - len(law)
        chi_squared = float(((cells - expected) ** 2 / expected).sum())
        # Cells with expectation below one add to the variance 2 freedom, by the sum of 1/expected.
        spread = np.sqrt(2 * freedom + (1 / expected).sum())
        assert abs(chi_squared - freedom) < 5 * spread
        places = is_entity.argmax(axis=1)
        assert abs(places.mean() - (plan.sentence - 1) / 2) < 5 * plan.sentence / np.sqrt(12 * len(sentences))
        assert len(np.unique(about)) == plan.entities


def test_a_wrong_law_is_noticed() -> None:
    """The parallelogram fails once group and relation interact: the test above can fail."""
    plan = PLANS[1]
    law = context_law(plan)
    law[0, 0] *= 1.5  # the first group's word occurs more often beside its country than beside its capital
    pmi = np.log(law)
    groups = plan.groups
    assert abs(pmi[groups, 0] - pmi[0, 0] + pmi[1, 0] - pmi[groups + 1, 0]) > 0.1


class TestPlanted:
    def test_seeds_and_sizes(self) -> None:
        one, again, other = planted(tokens=50_000, seed=1), planted(tokens=50_000, seed=1), planted(50, tokens=50_000)
        assert one.digest == again.digest != other.digest
        assert planted(tokens=50_000, seed=2).digest != one.digest
        assert len(one.tokens) == 50_000 // Plan.sentence * Plan.sentence
        np.testing.assert_array_equal(np.diff(one.starts), Plan.sentence)

    def test_groups_list_the_entities_in_order(self) -> None:
        corpus = planted(groups=6, relations=("country", "capital"), tokens=20_000)
        for name in ("country", "capital"):
            assert [corpus.vocabulary[i] for i in corpus.groups[name]] == [f"{name}{i}" for i in range(6)]
        a, b, c, d = (corpus.vocabulary[i] for i in corpus.analogies.questions[0])
        assert (a, b, c, d) == ("country0", "capital0", "country1", "capital1")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"groups": 1}, "2 groups and 2 relations"),
            ({"relations": ("country",)}, "2 groups and 2 relations"),
            ({"relations": ("country", "country", "capital")}, "different names"),
            ({"words_a_group": 0}, "words_a_group of at least 1, got 0"),
            ({"filler_words": 0}, "filler_words of at least 1"),
            ({"sentence": 1}, "at least one other word, not 1"),
            ({"group_share": 0.7, "relation_share": 0.3}, "leave some to filler words, got 0.7 and 0.3"),
            ({"group_share": 0.0}, "must be positive"),
            ({"noise": 0.0}, "noise lies between 0 and 1, without these, got 0.0"),
        ],
    )
    def test_plans_without_questions_or_law_are_refused(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            replace(Plan(), **change)  # type: ignore[arg-type]

    def test_too_few_tokens_are_refused(self) -> None:
        with pytest.raises(ValueError, match="a planted sentence has 11 words, so 10 tokens are too few"):
            planted(tokens=10)


def accuracy(corpus: Corpus, rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    asked = corpus.analogies.questions
    right = 0
    for a, b, c, d in asked[:: max(1, len(asked) // 500)]:
        scores = unit @ (unit[b] - unit[a] + unit[c])
        scores[[a, b, c]] = -np.inf
        right += int(scores.argmax() == d)
    return right / len(asked[:: max(1, len(asked) // 500)])


def test_another_word2vec_finds_the_analogies_and_finds_more_when_wider() -> None:
    """gensim's CBOW with TP4's initialisation: E uniform with variance 1/n, C zero, rate 0.05."""
    word2vec = pytest.importorskip("gensim.models", reason="gensim is not installed").Word2Vec
    corpus = planted(groups=20, relations=RELATIONS[:3], tokens=50_000)
    bounds = [*corpus.starts.tolist(), len(corpus.tokens)]
    sentences = [[corpus.vocabulary[t] for t in corpus.tokens[a:b]] for a, b in pairwise(bounds)]
    found = {}
    for width in (8, 256):
        model = word2vec(
            vector_size=width, window=8, negative=10, sg=0, min_count=1, sample=0, workers=1, seed=1, alpha=0.05
        )
        model.build_vocab(sentences)
        drawn = np.random.default_rng(width).uniform(-1, 1, (len(corpus.vocabulary), width))
        model.wv.vectors[:] = drawn * np.sqrt(3 / width)
        before = np.array([model.wv[word] for word in corpus.vocabulary], dtype=np.float64)
        model.train(sentences, total_examples=len(sentences), epochs=2)
        after = np.array([model.wv[word] for word in corpus.vocabulary], dtype=np.float64)
        found[width] = (accuracy(corpus, before), accuracy(corpus, after))
    assert found[8][0] < 0.05
    assert found[256][0] < 0.05
    assert found[256][1] > 0.9
    assert found[8][1] < found[256][1] - 0.1
