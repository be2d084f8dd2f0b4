"""What is asked of embeddings, against slow loops over explicit vectors, NumPy's SVD and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from slow_word2vec import CPU, network, random_corpus
from torch import Tensor

from tpbench.data.corpus.corpus import Analogies
from tpbench.networks.word2vec import evaluate
from tpbench.networks.word2vec.evaluate import correct, cosines, principal_components, random_plane, separation
from tpbench.networks.word2vec.model import Vectors


@dataclass(frozen=True)
class Explicit:
    """Embeddings written down, (seed, words, width)."""

    table: Tensor

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        right = self.table if others is None else self.table[:, others]
        return self.table[:, words] @ right.mT / self.table.shape[2]

    def squared_norms(self) -> Tensor:
        return self.table.square().mean(2)


def questions(rows: list[list[int]]) -> Analogies:
    asked = np.array(rows, dtype=np.int32).reshape(-1, 4)
    return Analogies(asked, np.zeros(len(asked), dtype=np.int32), ("all",))


def slow_answers(table: NDArray[np.float64], analogies: Analogies) -> list[bool]:
    """Return, question by question, whether d alone is nearest to b - a + c among all words but a, b and c."""
    norms = np.sqrt((table**2).sum(1))
    unit = np.array([row / norm if norm else row for row, norm in zip(table, norms, strict=True)])
    found = []
    for a, b, c, d in analogies.questions.tolist():
        aim = unit[b] - unit[a] + unit[c]
        scores = {word: float(unit[word] @ aim) for word in range(len(unit)) if word not in (a, b, c)}
        best = max(scores.values())
        nearest = [word for word, score in scores.items() if score >= best - 1e-12]
        found.append(nearest == [d])
    return found


def parallelograms(seed: int, noise: float) -> tuple[Tensor, Analogies]:
    """Return noisy vectors of 8 groups by 3 relations, and 200 random questions, some with a word twice."""
    rng = np.random.default_rng(seed)
    groups, relations = rng.standard_normal((8, 6)), rng.standard_normal((3, 6))
    table = (groups[:, None] + relations).reshape(24, 6) + noise * rng.standard_normal((24, 6))
    rows = []
    for _ in range(200):
        i, j, r, s = rng.integers(8), rng.integers(8), rng.integers(3), rng.integers(3)
        rows.append([3 * i + r, 3 * i + s, 3 * j + r, 3 * j + s])
    return torch.as_tensor(table, device=CPU), questions(rows)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_analogies_are_answered_as_a_loop_answers_them(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds, also when the questions are taken in small parts; rows of any length."""
    drawn = [parallelograms(seed, noise) for seed in range(3)]
    asked = drawn[0][1]
    lengths = torch.linspace(0.1, 3, 24, dtype=torch.float64, device=CPU)[:, None]
    table = torch.stack([each * lengths for each, _ in drawn])
    slow = np.array([slow_answers(each.numpy(), asked) for each in table])
    assert slow.any()
    assert not slow.all()
    assert np.array_equal(correct(Explicit(table), asked, CPU).numpy(), slow)
    monkeypatch.setattr(evaluate, "QUESTIONS_AT_ONCE", 3 * 24 * 7)
    assert np.array_equal(correct(Explicit(table), asked, CPU).numpy(), slow)


def test_rules_of_analogies_by_hand() -> None:
    """The three words are left out, the answer must be nearest alone, and words that are zero answer nothing."""
    square = [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [-1.0, 0.0, 0.0]]

    def answer(rows: list[list[float]], *asked: list[int]) -> list[bool]:
        table = torch.tensor([rows], dtype=torch.float64, device=CPU)
        return [bool(each) for each in correct(Explicit(table), questions(list(asked)), CPU)[0]]

    assert answer(square, [0, 1, 2, 3], [2, 3, 0, 1], [0, 1, 2, 4]) == [True, True, False]
    assert answer(square, [0, 1, 2, 1]) == [False]
    twin = [*square, square[3]]
    assert answer(twin, [0, 1, 2, 3], [0, 1, 2, 5]) == [False, False]
    zero = [[0.0] * 3] * 5
    assert answer(zero, [0, 1, 2, 3]) == [False]
    # b itself is nearest to b - a + c, and would win were it not left out
    near = [[1.0, 0.0], [1.0, 0.02], [0.99, 0.01], [0.6, 0.8]]
    assert answer(near, [0, 1, 2, 3]) == [True]


def test_orthogonal_embeddings_answer_nothing() -> None:
    """As in the kernel limit, where no word is nearer than another."""
    table = torch.eye(24, dtype=torch.float64, device=CPU)[None]
    assert not correct(Explicit(table), parallelograms(0, 0.0)[1], CPU).any()


def test_cosines_are_those_of_the_vectors(normal: Callable[..., Tensor], agree: Callable[..., None]) -> None:
    table = normal(2, 6, 4)
    table[0, 3] = 0
    found = cosines(Explicit(table), torch.tensor([5, 3, 0], device=CPU))
    expected = torch.nn.functional.cosine_similarity(table[:, [5, 3, 0]][:, :, None], table[:, None], dim=3)
    agree(found, expected, 1e-12)
    assert not found[0, 1].any()


def test_a_network_has_the_gram_matrix_of_its_vectors(agree: Callable[..., None]) -> None:
    vectors = network(random_corpus(9, 40), 5, seeds=[0, 1])
    explicit = Explicit(vectors.by_seed(vectors.embedding))
    words, others = torch.tensor([4, 4, 0], device=CPU), torch.tensor([8, 1], device=CPU)
    agree(vectors.gram(words), explicit.gram(words))
    agree(vectors.gram(words, others), explicit.gram(words, others))
    agree(vectors.squared_norms(), explicit.squared_norms())


def turned(vectors: Vectors, turn: Tensor) -> Vectors:
    table = vectors.by_seed(vectors.embedding) @ turn
    return replace(vectors, embedding=table.transpose(0, 1).reshape(vectors.embedding.shape))


def test_nothing_that_is_asked_depends_on_the_axes_of_the_width(normal: Callable[..., Tensor]) -> None:
    vectors = network(random_corpus(24, 300), 6, seeds=[0, 1])
    turn, _ = torch.linalg.qr(normal(6, 6))
    words, asked = torch.arange(12, device=CPU), parallelograms(0, 0.3)[1]
    other = turned(vectors, turn)
    assert torch.equal(correct(other, asked, CPU), correct(vectors, asked, CPU))
    np.testing.assert_allclose(principal_components(other, words), principal_components(vectors, words), atol=1e-12)


@pytest.mark.parametrize("width", [3, 5, 40])
def test_principal_components_are_those_of_a_singular_value_decomposition(
    width: int, normal: Callable[..., Tensor]
) -> None:
    table, words = normal(2, 30, width), torch.tensor([7, 1, 20, 3, 9, 14, 22], device=CPU)
    found = principal_components(Explicit(table), words)
    for points, rows in zip(found, table[:, words].numpy(), strict=True):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        left, sizes, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
        expected = left[:, :2] * sizes[:2]
        signs = np.sign((expected**3).sum(0))
        np.testing.assert_allclose(points, expected * signs, atol=1e-12)
        assert ((points**3).sum(0) > 0).all()


def test_separation_is_the_distance_of_a_linear_discriminant() -> None:
    """scikit-learn's discriminant is Σ^(-1)(m_1 - m_2), with the covariance over N where ours has N - 2."""
    discriminant = pytest.importorskip("sklearn.discriminant_analysis").LinearDiscriminantAnalysis
    rng = np.random.default_rng(0)
    for sizes in ((20, 30), (3, 3), (3, 40)):
        points = rng.standard_normal((sum(sizes), 2)) @ np.array([[2.0, 0.7], [0.0, 0.3]])
        points[: sizes[0]] += [1.5, -0.4]
        labels = np.repeat([0, 1], sizes)
        fitted = discriminant(solver="lsqr").fit(points, labels)
        apart = points[labels == 0].mean(0) - points[labels == 1].mean(0)
        squared = -float(apart @ fitted.coef_[0]) * (len(points) - 2) / len(points)
        assert separation(points, sizes) == pytest.approx(np.sqrt(squared), rel=1e-9)


def test_separation_by_hand_and_what_leaves_it_alone() -> None:
    """Two squares of side 2 around (0, 0) and (3, 0): pooled variance 8/6 in both directions."""
    square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    points = np.vstack([square, square + np.array([3.0, 0.0])])
    assert separation(points, (4, 4)) == pytest.approx(3 / np.sqrt(8 / 6), rel=1e-12)
    moved = points @ np.array([[0.3, 2.0], [-1.0, 0.5]]) + [5.0, -7.0]
    assert separation(moved, (4, 4)) == pytest.approx(separation(points, (4, 4)), rel=1e-10)
    assert separation(points[::-1], (4, 4)) == pytest.approx(separation(points, (4, 4)), rel=1e-12)


def test_equal_groups_are_as_far_apart_as_is_said() -> None:
    """The mean square over many pairs of groups of one law is 2 (1/m + 1/k), up to Hotelling's factor."""
    rng = np.random.default_rng(3)
    m, k = 30, 50
    squares = [separation(rng.standard_normal((m + k, 2)), (m, k)) ** 2 for _ in range(2000)]
    hotelling = 2 * (1 / m + 1 / k) * (m + k - 2) / (m + k - 5)
    assert np.mean(squares) == pytest.approx(hotelling, rel=0.06)


def test_random_planes_are_those_of_wide_gaussian_embeddings() -> None:
    """Two roads to one law: the separation of fixed halves, and the fourth moments of coordinates."""
    rng = np.random.default_rng(1)
    words, sizes = 16, (8, 8)
    ours = np.array([random_plane(words, rng) for _ in range(1500)])
    table = torch.as_tensor(rng.standard_normal((1500, words, 20_000 // words)), device=CPU)
    theirs = principal_components(Explicit(table), torch.arange(words, device=CPU))
    theirs = theirs / np.sqrt((theirs**2).sum(1, keepdims=True))
    for planes in (ours, theirs):
        np.testing.assert_allclose(planes.sum(1), 0, atol=1e-10)
        np.testing.assert_allclose(
            np.einsum("swi,swj->sij", planes, planes), np.tile(np.eye(2), (1500, 1, 1)), atol=1e-10
        )
    apart = [np.array([separation(plane, sizes) for plane in planes]) for planes in (ours, theirs)]
    error = np.sqrt(sum(each.var() / len(each) for each in apart))
    assert abs(apart[0].mean() - apart[1].mean()) < 4 * error
    fourth = [(planes**4).sum(1) for planes in (ours, theirs)]
    error = np.sqrt(sum(each.var() / len(each) for each in fourth))
    assert abs(fourth[0].mean() - fourth[1].mean()) < 4 * error
    # Plant: uniformly random planes are another law, since the diagonal of cosines does not fluctuate
    uniform, _ = np.linalg.qr(rng.standard_normal((1500, words, 2)))
    assert abs((uniform**4).sum(1).mean() - fourth[1].mean()) > 8 * error


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="no analogy question that this vocabulary can answer: take more words"):
        correct(Explicit(torch.ones(1, 3, 2, device=CPU)), questions([]), CPU)
    with pytest.raises(ValueError, match="two groups of 3 points at least, got 2 and 4"):
        separation(np.zeros((6, 2)), (2, 4))
    with pytest.raises(ValueError, match="got 3 and 4"):
        separation(np.zeros((7, 2)), (3, 3))
    line = np.arange(8.0)[:, None] * [1.0, 2.0]
    with pytest.raises(ValueError, match="these lie on a line"):
        separation(line, (4, 4))
