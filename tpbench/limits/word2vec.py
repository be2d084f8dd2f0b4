"""The limits of word2vec as recursions of inner products, with no width axis anywhere.

Let Ê = E/√n and Ĉ = √n C. The loss and its derivatives see a network only through logits, which are entries of
B = Ê Ĉᵀ. Let ``mixture`` X (inputs, V) hold the weights of the words in each input of a step, and let G (inputs, V)
be the loss's derivatives by the logits X B. Then M = Xᵀ G (V, V) is all that a step of SGD asks for:

    Ê ← S_E Ê - η M Ĉ,        Ĉ ← S_C Ĉ - η Mᵀ Ê,

with the diagonal S = 1 - η λ · touches of weight decay. Under muP both rates are η at every width. So the Gram matrix
K = [[A, B], [Bᵀ, D]] of the rows of Ê and Ĉ, with A = Ê Êᵀ and D = Ĉ Ĉᵀ, moves by itself:

    K ← T K Tᵀ,        T = [[S_E, -η M], [-η Mᵀ, S_C]]              (feature learning, exact at every width)

and infinite width only sets where it starts: A = I, B = 0, and D = 0 (zero output) or I (random). The recursion is the
one behind the network started at the identity in arXiv:2011.14522.

In the kernel regime M Ĉ and Mᵀ Ê are small beside Ê and Ĉ, whose rows stay orthogonal; A and D are diagonal and decay
alone moves them, and of T K Tᵀ the logits keep what is of first order:

    B ← S_E B S_C - η (κ_C S_E A M + κ_E M D S_C),        A ← S_E A S_E,        D ← S_C D S_C.

Costs are V³ a step: this is the road that checks the others on small vocabularies. NumPy, float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from tpbench.limits import Array


class Position(NamedTuple):
    """A place in a text: the words of its context, its own word, and its negatives, which may repeat."""

    context: Sequence[int]
    target: int
    negatives: Sequence[int]


@dataclass(frozen=True)
class Step:
    """What one step sees: ``mixture`` (inputs, V), and how often each word is a target or a negative of each input.

    ``positive`` and ``negative`` are (inputs, V), ``touches`` (V,) counts the contexts that each word is in.
    """

    mixture: Array
    positive: Array
    negative: Array
    touches: Array


@dataclass(frozen=True)
class Moments:
    """Inner products of embeddings, A = ``embedding``, of embeddings with outputs, B = ``logits``, and of outputs, D.

    All are (V, V). ``logits[w, j]`` is the logit of word j given the single word w.
    """

    embedding: Array
    logits: Array
    output: Array


def _cbow(positions: Iterable[Position]) -> Iterable[tuple[Sequence[int], Position]]:
    return ((position.context, position) for position in positions)


def _skip_gram(positions: Iterable[Position]) -> Iterable[tuple[Sequence[int], Position]]:
    return (([word], position) for position in positions for word in position.context)


INPUTS = {"cbow": _cbow, "skip-gram": _skip_gram}
"""Architecture -> the inputs that positions make, each the words of which it is the mean."""


def step_of(positions: Sequence[Position], words: int, architecture: str) -> Step:
    """Return the step that positions make together in a vocabulary of ``words`` words.

    A position without context makes no input; a negative that is the target is left out. Raises ``ValueError`` for an
    unknown architecture or a word outside the vocabulary.
    """
    if architecture not in INPUTS:
        raise ValueError(f"there is no word2vec architecture {architecture!r}; there are {', '.join(INPUTS)}")
    numbers = [w for position in positions for w in (*position.context, position.target, *position.negatives)]
    if numbers and not 0 <= min(numbers) <= max(numbers) < words:
        raise ValueError(f"words are numbered 0 … {words - 1}, got {min(numbers)} … {max(numbers)}")
    present = [position for position in positions if len(position.context)]
    inputs = list(INPUTS[architecture](present))
    mixture, positive, negative = (np.zeros((len(inputs), words)) for _ in range(3))
    for row, (mixed, position) in enumerate(inputs):
        for word in mixed:
            mixture[row, word] += 1 / len(mixed)
        positive[row, position.target] += 1
        for word in position.negatives:
            negative[row, word] += word != position.target
    touches = np.zeros(words)
    for position in present:
        np.add.at(touches, np.asarray(position.context), 1)
    return Step(mixture, positive, negative, touches)


def start(words: int, *, zero_output: bool = True, logits: Array | None = None) -> Moments:
    """Return the moments at the start of training, at infinite width: A = I, B = 0 and D = 0 or I.

    ``logits`` (V, V) is the B of a network that starts with logits of its own, as in the kernel regime with random
    output. Raises ``ValueError`` when it has another shape.
    """
    first = np.zeros((words, words)) if logits is None else np.array(logits, dtype=np.float64)
    if first.shape != (words, words):
        raise ValueError(f"the first logits of {words} words are ({words}, {words}), got {first.shape}")
    return Moments(np.eye(words), first, np.zeros((words, words)) if zero_output else np.eye(words))


def feature_learning_step(moments: Moments, step: Step, *, rate: float, decay: float) -> Moments:
    """Return the moments after a step with rate eta = ``rate`` and weight decay λ = ``decay``.

    Exact for the inner products of any network under muP, so also for one of finite width from its own start.
    """
    moved, shrink_input, shrink_output = _movement(moments, step, rate, decay)
    words = len(moved)
    transition = np.block([[np.diag(shrink_input), moved], [moved.T, np.diag(shrink_output)]])
    gram = np.block([[moments.embedding, moments.logits], [moments.logits.T, moments.output]])
    after = transition @ gram @ transition.T
    return Moments(after[:words, :words], after[:words, words:], after[words:, words:])


def kernel_step(moments: Moments, step: Step, *, rate: float, decay: float, terms: tuple[float, float]) -> Moments:
    """Return the moments after a step in the kernel regime; ``terms`` are κ_C and κ_E, the weights of the two layers.

    Under NTP both are 1; where the output starts at zero D = 0 and κ_E has no effect.
    """
    moved, shrink_input, shrink_output = _movement(moments, step, rate, decay)
    left, right = np.diag(shrink_input), np.diag(shrink_output)
    logits = left @ moments.logits @ right
    logits += terms[0] * left @ moments.embedding @ moved + terms[1] * moved @ moments.output @ right
    return Moments(left @ moments.embedding @ left, logits, right @ moments.output @ right)


def _movement(moments: Moments, step: Step, rate: float, decay: float) -> tuple[Array, Array, Array]:
    """Return -eta M, and the factors by which decay shrinks the rows of Ê and of Ĉ."""
    seen = expit(step.mixture @ moments.logits)
    derivative = step.positive * (seen - 1) + step.negative * seen
    touched = (step.positive + step.negative).sum(axis=0)
    moved: Array = -rate * step.mixture.T @ derivative
    return moved, 1 - rate * decay * step.touches, 1 - rate * decay * touched
