"""What is asked of embeddings: analogies, and how two groups of words lie in the plane of two principal components.

Everything is a function of the Gram matrix of the embeddings, so that it is one code for finite networks, the
infinite one, and one that is never written down.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.data.corpus.corpus import Analogies

QUESTIONS_AT_ONCE = 2**25
"""About how many scores of words are held at once."""


class Grams(Protocol):
    """Embeddings known by their inner products, divided by the width, for every seed of an ensemble."""

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        """Return the inner products of some words with others (all by default), (seed, words, others)."""

    def squared_norms(self) -> Tensor:
        """Return the inner products of words with themselves, (seed, words)."""


def cosines(embeddings: Grams, words: Tensor) -> Tensor:
    """Return the cosines of some words with all, (seed, words, vocabulary); a zero vector is orthogonal to all."""
    inverse = embeddings.squared_norms().rsqrt()
    inverse = torch.where(inverse.isfinite(), inverse, 0.0)
    return embeddings.gram(words) * inverse[:, words, None] * inverse[:, None, :]


def correct(embeddings: Grams, analogies: Analogies, device: torch.device) -> Tensor:
    """Return which analogies are answered right, (seed, questions) bool.

    The answer to "a is to b as c is to ?" is the word nearest, by cosine, to b - a + c with every embedding
    normalised, among all words but the three (T. Mikolov et al., arXiv:1301.3781, section 4; the rule of the code of
    arXiv:2011.14522). Ties, as among words whose embeddings never moved, go to no one: the answer must be nearest
    alone. Raises ``ValueError`` when there is no question.
    """
    if not len(analogies.questions):
        raise ValueError("there is no analogy question that this vocabulary can answer: take more words or tokens")
    asked = np.array(analogies.questions, dtype=np.int64)
    words, inverse = np.unique(asked[:, :3], return_inverse=True)
    questions, places = (torch.as_tensor(each, device=device) for each in (asked, inverse.reshape(-1, 3)))
    known = cosines(embeddings, torch.as_tensor(words, device=device))
    at_once = max(1, QUESTIONS_AT_ONCE // (known.shape[0] * known.shape[2]))
    parts = [
        _correct(known, questions[i : i + at_once], places[i : i + at_once]) for i in range(0, len(questions), at_once)
    ]
    return torch.cat(parts, dim=1)


def _correct(known: Tensor, questions: Tensor, places: Tensor) -> Tensor:
    scores = known[:, places[:, 1]] - known[:, places[:, 0]] + known[:, places[:, 2]]
    asked = questions[:, :3].expand(len(known), -1, -1)
    scores.scatter_(2, asked, -torch.inf)
    answer = questions[:, 3:].expand(len(known), -1, -1)
    score = scores.gather(2, answer)
    scores.scatter_(2, answer, -torch.inf)
    return scores.amax(dim=2) < score[:, :, 0]


def principal_components(embeddings: Grams, words: Tensor) -> NDArray[np.float64]:
    """Return the first two principal components of some words' normalised embeddings, (seed, words, 2).

    They are eigenvectors of the centred cosine matrix times the roots of their eigenvalues, so a network of any width,
    infinite too, has them from its Gram matrix; those of a diverged network are NaN. The sign is such that the words'
    third moment is positive.
    """
    inverse = embeddings.squared_norms()[:, words].rsqrt()
    gram = (embeddings.gram(words, words) * inverse[:, :, None] * inverse[:, None, :]).to(torch.float64).cpu().numpy()
    finite = np.isfinite(gram).all(axis=(1, 2))
    gram[~finite] = 0.0
    values, vectors = _leading(gram)
    points = vectors * np.sqrt(np.maximum(values[:, None, :], 0))
    sign = np.sign((points**3).sum(axis=1, keepdims=True))
    plane: NDArray[np.float64] = points * np.where(sign == 0, 1, sign)
    plane[~finite] = np.nan
    return plane


def _leading(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two largest eigenvalues, (seed, 2), of centred Gram matrices and their vectors, (seed, words, 2)."""
    centred = gram - gram.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=2, keepdims=True)
    values, vectors = np.linalg.eigh((centred + centred.swapaxes(1, 2)) / 2)
    return values[:, :-3:-1], vectors[:, :, :-3:-1]


def random_plane(words: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the first two principal components of words whose embeddings are Gaussian and very wide, (words, 2).

    Their cosines are the identity plus n^(-1/2) times a Gaussian symmetric matrix, whose diagonal is 0 because vectors
    are normalised; at infinite width its eigenvectors, once it is centred, are the plane (here of unit length). That is
    the law of a kernel limit, where embeddings do not move.
    """
    above = np.triu(generator.standard_normal((words, words)), 1)
    _, planes = _leading((above + above.T)[np.newaxis])
    plane: NDArray[np.float64] = planes[0]
    return plane


def separation(points: NDArray[np.float64], sizes: tuple[int, int]) -> float:
    """Return how far two groups of points lie apart in a plane: the distance of their means in standard deviations.

    ``points`` (words, 2) holds the first group, then the second. It is Mahalanobis' distance with the pooled
    covariance within groups; equal laws of m and k points give about sqrt(2/m + 2/k). Raises ``ValueError`` for
    groups of fewer than three points, or points on a line.
    """
    first, second = points[: sizes[0]], points[sizes[0] :]
    if min(sizes) < 3 or len(second) != sizes[1]:
        raise ValueError(f"separation needs two groups of 3 points at least, got {len(first)} and {len(second)}")
    within = sum((group - group.mean(axis=0)).T @ (group - group.mean(axis=0)) for group in (first, second))
    covariance = np.asarray(within) / (len(points) - 2)
    if np.linalg.matrix_rank(covariance) < 2:
        raise ValueError("separation needs points in a plane; these lie on a line")
    apart = first.mean(axis=0) - second.mean(axis=0)
    return float(np.sqrt(apart @ np.linalg.solve(covariance, apart)))
