"""The rival of the word2vec benchmarks: gensim's Word2Vec, set to do what one of our networks does."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec.evaluate import correct
from tpbench.networks.word2vec.model import Vectors, Word2Vec
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.train import Training


@dataclass(frozen=True)
class Rival:
    """gensim on a corpus, with our window, negatives and subsampling; zero output vectors are its own start too.

    ``words`` takes the first sentences only, with so many words or a few more. With ``file`` it may also read the text
    from there, which it does without Python's lock.
    """

    corpus: Corpus
    sampling: Sampling
    architecture: str
    width: int
    seed: int = 0
    words: int | None = None
    file: File | None = None
    sentences: list[list[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        last = len(self.corpus.tokens) if self.words is None else self.words
        starts = self.corpus.starts
        ends = np.append(starts[1:], len(self.corpus.tokens))[starts < last]
        tokens = np.array(self.corpus.vocabulary)[self.corpus.tokens[: ends[-1]]]
        sentences = [part.tolist() for part in np.split(tokens, ends[:-1])]
        object.__setattr__(self, "sentences", sentences)
        if self.file is not None:
            self.file.write_text("\n".join(map(" ".join, sentences)) + "\n", "ascii")

    def model(self, workers: int = 1) -> Any:
        """Return an untrained model with the vocabulary of the corpus, and jobs small enough for all workers."""
        from gensim.models import Word2Vec as Gensim

        words = sum(map(len, self.sentences))
        model = Gensim(
            vector_size=self.width,
            window=self.sampling.window,
            negative=self.sampling.negatives,
            sample=self.sampling.subsample,
            sg=int(self.architecture == "skip-gram"),
            cbow_mean=1,
            min_count=1,
            workers=workers,
            seed=self.seed + 1,
            batch_words=min(10_000, max(1000, words // 8)),
        )
        model.build_vocab_from_freq(dict(zip(self.corpus.vocabulary, self.corpus.counts.tolist(), strict=True)))
        return model

    def rate(self, workers: int, from_file: bool) -> float:
        """Return the words a second that it trains on, those that subsampling leaves, by its own count."""
        model = self.model(workers)
        text = {"corpus_file": str(self.file)} if from_file else {"corpus_iterable": self.sentences}
        words = sum(map(len, self.sentences))
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trained, _ = model.train(**text, total_examples=len(self.sentences), total_words=words, epochs=1)
        return float(trained / (time.perf_counter() - start))

    def trained(self, first: NDArray[np.float32], training: Training) -> NDArray[np.float32]:
        """Return the embeddings after training from ``first`` (words, width), in the order of the vocabulary."""
        model, words = self.model(), self.corpus.vocabulary
        order = [model.wv.key_to_index[word] for word in words]
        model.wv.vectors[order] = first
        model.train(
            self.sentences,
            total_examples=len(self.sentences),
            epochs=training.epochs,
            start_alpha=training.rate,
            end_alpha=training.rate * training.floor,
        )
        found: NDArray[np.float32] = model.wv.vectors[order]
        return found


def answers(table: NDArray[np.float32], corpus: Corpus) -> float:
    """Return the share of a corpus's analogies that explicit embeddings answer right."""
    e = torch.as_tensor(table, device=torch.device("cpu"))
    vectors = Vectors(Word2Vec(*e.shape), e, torch.zeros_like(e), 1.0, 1.0, seeds=1)
    return float(correct(vectors, corpus.analogies, e.device).double().mean())
