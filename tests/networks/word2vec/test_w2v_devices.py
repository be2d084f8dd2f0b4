"""word2vec on any device: nothing that trains reads a value, CUDA agrees with the CPU, threads change no bit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from slow_word2vec import CPU, random_corpus

from tpbench.data.corpus.corpus import Analogies
from tpbench.networks.word2vec.evaluate import correct
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.kernel_limit import kernel_limit, kernel_step_
from tpbench.networks.word2vec.model import ARCHITECTURES, Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Training, mean_loss, train
from tpbench.parametrization import named

META = torch.device("meta")
CORPUS = random_corpus(words=40, tokens=3000)
SAMPLING = Sampling(window=4, negatives=6, subsample=0.05, block=64, tile=16)
TRAINING = Training(epochs=1, rate=0.01, decay=0.01)


def trained(device: torch.device, architecture: str, *, width: int = 33, dtype: torch.dtype = torch.float64) -> Vectors:
    shape = Word2Vec(40, width, architecture, zero_output=False)
    vectors = initialise(shape, named("mup"), [0, 1], device=device, dtype=dtype)
    assert list(islice(train(vectors, Path(CORPUS, SAMPLING, device, dtype), TRAINING), 8))
    return vectors


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_and_both_limits_run_where_tensors_have_no_values(architecture: str) -> None:
    vectors = trained(META, architecture)
    shape = vectors.network
    limit = identity(shape, named("mup"), device=META, dtype=torch.float64)
    path = Path(CORPUS, SAMPLING, META, torch.float64)
    list(islice(train(limit, path, TRAINING), 8))
    kernel = kernel_limit(shape, named("ntp"), device=META, dtype=torch.float64)
    for block in islice(path.epoch(0), 8):
        kernel_step_(kernel, block, rate=0.1, decay=0.01)
    words = torch.zeros(3, dtype=torch.int64, device=META)
    found = (vectors.embedding, vectors.output, limit.output, kernel.logits, vectors.gram(words), kernel.gram(words))
    for tensor in (*found, vectors.squared_norms()):
        assert tensor.device.type == "meta"
        assert tensor.dtype == torch.float64


def test_reading_a_value_on_meta_is_noticed() -> None:
    """Plant: a loss is a value, so the device refuses it; the test above can fail."""
    with pytest.raises((NotImplementedError, RuntimeError)):
        mean_loss(trained(META, "cbow"), Path(CORPUS, SAMPLING, META, torch.float64), 1)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("width", [33, 700])
def test_a_repeated_run_is_the_same_bit_for_bit_with_threads(architecture: str, width: int) -> None:
    """At a number of threads, that is: two threads may add in another order than one."""
    for count in (1, 2):
        torch.set_num_threads(count)
        first, second = (trained(CPU, architecture, width=width, dtype=torch.float32) for _ in range(2))
        assert torch.equal(first.embedding, second.embedding)
        assert torch.equal(first.output, second.output)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the comparison of devices was NOT made")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_on_cuda_agrees_with_the_cpu(architecture: str) -> None:
    cuda = torch.device("cuda")
    ours, theirs = trained(cuda, architecture), trained(CPU, architecture)
    torch.testing.assert_close(ours.embedding.cpu(), theirs.embedding, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(ours.output.cpu(), theirs.output, rtol=1e-9, atol=1e-11)
    path = Path(CORPUS, SAMPLING, cuda, torch.float64)
    expected = mean_loss(theirs, Path(CORPUS, SAMPLING, CPU, torch.float64), 5)
    torch.testing.assert_close(mean_loss(ours, path, 5), expected, rtol=1e-9, atol=0)
    kernels = []
    for device in (cuda, CPU):
        limit = kernel_limit(ours.network, named("ntp"), device=device, dtype=torch.float64)
        for block in Path(CORPUS, SAMPLING, device, torch.float64).epoch(0):
            kernel_step_(limit, block, rate=0.1, decay=0.01)
        kernels.append(limit.word_logits().cpu())
    torch.testing.assert_close(*kernels, rtol=1e-9, atol=1e-11)
    asked = np.random.default_rng(0).permuted(np.tile(np.arange(40, dtype=np.int32), (50, 1)), axis=1)[:, :4]
    analogies = Analogies(asked, np.zeros(50, dtype=np.int32), ("any",))
    assert torch.equal(correct(ours, analogies, cuda).cpu(), correct(theirs, analogies, CPU))
