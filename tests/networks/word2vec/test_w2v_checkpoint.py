"""Checkpoints: taken up where it stopped, training is the same bit for bit; a wrong or damaged file is refused."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path as File

import pytest
import torch
from slow_word2vec import CPU, random_corpus

from tpbench.networks.word2vec import checkpoint
from tpbench.networks.word2vec.checkpoint import CheckpointError, key_of, restore, save
from tpbench.networks.word2vec.kernel_limit import KernelLimit, kernel_limit
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Moment, Training, train
from tpbench.parametrization import named

CORPUS = random_corpus(words=25, tokens=900)
SAMPLING = Sampling(window=3, negatives=4, subsample=0.1, block=8, tile=4)
TRAINING = Training(epochs=2, rate=0.1, decay=0.01)
PATH = Path(CORPUS, SAMPLING, CPU, torch.float32)
NETWORK = Word2Vec(25, 6, zero_output=False)
KEY = key_of(PATH, TRAINING, NETWORK, named("mup"), seeds=[0, 1])


def start() -> Vectors:
    return initialise(NETWORK, named("mup"), [0, 1], device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("stop", [1, 63, 64, 70, "end of epoch", "last"])
def test_interrupted_and_taken_up_is_uninterrupted(stop: int | str, tmp_path: File) -> None:
    whole, stopped = start(), start()
    moments = list(train(whole, PATH, TRAINING))
    ends = {"end of epoch": PATH.blocks(0), "last": len(moments)}
    count = stop if isinstance(stop, int) else ends[stop]
    *_, moment = islice(train(stopped, PATH, TRAINING), count)
    save(tmp_path / "at", stopped, moment, KEY)
    taken, when = restore(tmp_path / "at", start(), KEY)
    assert when == moment == moments[count - 1]
    assert moment.ends_epoch == isinstance(stop, str)
    assert not torch.equal(taken.embedding, whole.embedding) or stop == "last"
    rest = list(train(taken, PATH, TRAINING, start=when))
    assert rest == moments[count:]
    assert torch.equal(taken.embedding, whole.embedding)
    assert torch.equal(taken.output, whole.output)


def test_the_kernel_limit_is_kept_too(tmp_path: File) -> None:
    limit = kernel_limit(NETWORK, named("ntp"), device=CPU, dtype=torch.float64)
    limit.logits.copy_(torch.arange(625.0, device=CPU).view(25, 25))
    limit.output_size.mul_(0.5)
    save(tmp_path / "limit", limit, Moment(1, 2, 3), "key")
    like = kernel_limit(NETWORK, named("ntp"), device=CPU, dtype=torch.float64)
    found, moment = restore(tmp_path / "limit", like, "key")
    assert isinstance(found, KernelLimit)
    assert moment == Moment(1, 2, 3)
    for name in ("logits", "embedding_size", "output_size"):
        assert torch.equal(getattr(found, name), getattr(limit, name))


def test_what_is_restored_is_nobody_elses(tmp_path: File) -> None:
    """Training on changes neither the file nor what it was restored like."""
    like = start()
    before = like.embedding.clone()
    save(tmp_path / "a", like, Moment(0, 1, 2), KEY)
    taken, _ = restore(tmp_path / "a", like, KEY)
    taken.embedding.add_(1)
    assert torch.equal(like.embedding, before)
    assert torch.equal(restore(tmp_path / "a", like, KEY)[0].embedding, before)


def test_a_key_is_of_everything_that_the_numbers_depend_on() -> None:
    other_corpus = random_corpus(words=25, tokens=900, seed=1)
    mup = named("mup")
    keys = [
        KEY,
        key_of(replace(PATH, corpus=other_corpus), TRAINING, NETWORK, mup, seeds=[0, 1]),
        key_of(replace(PATH, dtype=torch.float64), TRAINING, NETWORK, mup, seeds=[0, 1]),
        key_of(PATH, TRAINING, NETWORK, named("ntp"), seeds=[0, 1]),
        key_of(PATH, TRAINING, NETWORK, mup, seeds=[1, 0]),
        key_of(PATH, TRAINING, NETWORK, mup, seeds=[0]),
        key_of(PATH, TRAINING, NETWORK, mup, seeds=[0, 1], base_width=2),
        key_of(PATH, TRAINING, NETWORK, mup, seeds=[0, 1], start="identity"),
    ]
    for name in ("window", "negatives", "subsample", "block", "tile", "seed"):
        value = getattr(SAMPLING, name) * 2 or 1
        sampling = replace(SAMPLING, **({"block": 16, "tile": 8} if name == "tile" else {name: value}))
        keys.append(key_of(replace(PATH, sampling=sampling), TRAINING, NETWORK, mup, seeds=[0, 1]))
    for name in ("epochs", "rate", "decay", "floor"):
        training = replace(TRAINING, **{name: getattr(TRAINING, name) * 2})
        keys.append(key_of(PATH, training, NETWORK, mup, seeds=[0, 1]))
    for change in ({"width": 7}, {"architecture": "skip-gram"}, {"zero_output": True}, {"whole_gradient": True}):
        keys.append(key_of(PATH, TRAINING, replace(NETWORK, **change), mup, seeds=[0, 1]))
    assert len(set(keys)) == len(keys)
    assert key_of(PATH, TRAINING, NETWORK, replace(mup, name="mine", source=""), seeds=range(2)) == KEY


def test_another_training_is_refused_in_a_sentence(tmp_path: File) -> None:
    save(tmp_path / "a", start(), Moment(0, 1, 2), KEY)
    with pytest.raises(CheckpointError, match=r"another training .*train with the old settings, or move the file away"):
        restore(tmp_path / "a", start(), KEY[::-1])
    wider = initialise(replace(NETWORK, width=7), named("mup"), [0, 1], device=CPU, dtype=torch.float32)
    with pytest.raises(CheckpointError, match=r"of shape \(25, 12\) for the table 'embedding'.*\(25, 14\)"):
        restore(tmp_path / "a", wider, KEY)
    with pytest.raises(CheckpointError, match="holds nothing for the table 'logits'"):
        restore(tmp_path / "a", kernel_limit(NETWORK, named("ntp"), device=CPU, dtype=torch.float32), KEY)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        restore(tmp_path / "b", start(), KEY)


def test_damage_anywhere_is_noticed(tmp_path: File) -> None:
    """A changed byte either leaves every number as it was (in padding) or is refused; a cut file is refused."""
    vectors, path = start(), tmp_path / "a"
    save(path, vectors, Moment(0, 1, 2), KEY)
    good, draw, refused = path.read_bytes(), random.Random(0), []
    for _ in range(200):
        place = draw.randrange(len(good))
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << draw.randrange(8))]) + good[place + 1 :])
        try:
            found, moment = restore(path, vectors, KEY)
        except CheckpointError as error:
            refused.append(str(error))
        else:
            assert moment == Moment(0, 1, 2)
            assert torch.equal(found.embedding, vectors.embedding)
            assert torch.equal(found.output, vectors.output)
    assert len(refused) > 60
    assert all("move it away to start anew" in message for message in refused)
    table = good.index(vectors.output.numpy().tobytes())
    path.write_bytes(good[: table + 8] + bytes([good[table + 8] ^ 1]) + good[table + 9 :])
    with pytest.raises(CheckpointError, match="its digest is not that of its tables"):
        restore(path, vectors, KEY)
    for length in (0, 1, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(CheckpointError, match="is damaged or is none"):
            restore(path, vectors, KEY)
    torch.save({"something": "else"}, path)
    with pytest.raises(CheckpointError, match="is damaged or is none"):
        restore(path, vectors, KEY)


def test_code_in_a_file_is_not_run(tmp_path: File) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"format": Trap()}, tmp_path / "a")
    with pytest.raises(CheckpointError):
        restore(tmp_path / "a", start(), KEY)
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "a", weights_only=False)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError("disk")])
def test_an_interrupted_write_leaves_the_old_file(
    error: BaseException | type[BaseException], tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a"
    save(path, start(), Moment(0, 1, 2), KEY)
    before = path.read_bytes()

    def broken(_: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", broken)
    expected = CheckpointError if isinstance(error, Exception) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save(path, start(), Moment(0, 2, 2), KEY)
    assert expected is KeyboardInterrupt or "an earlier checkpoint of this name is unharmed" in str(caught.value)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["a"]


def test_what_a_kill_left_is_removed_once_it_is_old(tmp_path: File) -> None:
    old, recent, other = (tmp_path / name for name in (".a.1.tmp", ".a.2.tmp", ".b.3.tmp"))
    for each in (old, recent, other):
        each.write_bytes(b"")
    for each in (old, other):
        os.utime(each, (time.time() - 7200, time.time() - 7200))
    save(tmp_path / "a", start(), Moment(), KEY)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".a.2.tmp", ".b.3.tmp", "a"]


def test_a_directory_that_cannot_be_made_is_told(tmp_path: File) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "file" / "a", start(), Moment(), KEY)
