"""``tpbench word2vec`` after an interrupt or a kill: it goes on bit for bit, or says why it cannot."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from word2vec_asking import CPU, KINDS, as_json, ask, request_of, untimed

from tpbench.networks.word2vec import sampling
from tpbench.networks.word2vec.model import Word2Vec, initialise
from tpbench.networks.word2vec.train import Moment, train
from tpbench.parametrization import named
from tpbench.word2vec import command, training
from tpbench.word2vec.record import Epoch
from tpbench.word2vec.training import learn


@pytest.fixture(scope="module")
def finite() -> dict[str, Any]:
    return as_json(*KINDS["finite"])


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``press(n)``: Ctrl-C is pressed during the n-th block that is trained from now on; 0 takes it back."""
    whole = training.moments

    def at(number: int) -> None:
        def moments(*arguments: Any) -> Any:
            for count, moment in enumerate(whole(*arguments), start=1):
                if count == number:
                    signal.raise_signal(signal.SIGINT)
                yield moment

        monkeypatch.setattr(training, "moments", moments)

    return at


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_is_uninterrupted(kind: str, tmp_path: Path, press: Callable[[int], None]) -> None:
    kept, handler = tmp_path / "kept", signal.getsignal(signal.SIGINT)
    saves = kind in ("finite", "identity")
    whole = as_json(*KINDS[kind], *(("--save", str(tmp_path / "a.npz")) if saves else ()))
    words = (*KINDS[kind], "--checkpoint", str(kept), *(("--save", str(tmp_path / "b.npz")) if saves else ()))
    for blocks, measured in ((50, 1), (90, 2), (30, 2)):  # in the first epoch, then twice in the second
        press(blocks)
        result = ask("--json", *words)
        assert result.exit_code == 130, result.output
        assert "run the same command again" in result.stderr
        assert result.stdout == ""
        assert len(json.loads((kept.with_name("kept.json")).read_text())["epochs"]) == measured
        assert signal.getsignal(signal.SIGINT) is handler
    press(0)
    found = as_json(*words)
    assert found["resumed"]["epoch"] == 1
    assert untimed(found) == untimed(whole)
    if saves:
        a, b = (np.load(tmp_path / name)["vectors"] for name in ("a.npz", "b.npz"))
        assert np.array_equal(a, b)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = as_json(*words)
    assert untimed(again) == untimed(whole), "a finished training is shown again"
    assert again["words_a_second"] == found["words_a_second"]


def test_a_kill_between_the_two_files_loses_nothing(
    finite: dict[str, Any], tmp_path: Path, press: Callable[[int], None]
) -> None:
    kept = tmp_path / "kept"
    press(50)
    ask(*KINDS["finite"], "--checkpoint", str(kept))
    shutil.copy(kept, tmp_path / "old")
    press(0)
    as_json(*KINDS["finite"], "--checkpoint", str(kept))
    shutil.copy(tmp_path / "old", kept)  # the epochs are those of the end, the state is not
    assert untimed(as_json(*KINDS["finite"], "--checkpoint", str(kept))) == untimed(finite)


def test_interrupts_without_a_checkpoint_say_how_to_have_one(press: Callable[[int], None]) -> None:
    press(3)
    result = ask(*KINDS["finite"])
    assert result.exit_code == 130
    assert "nothing is kept: give --checkpoint FILE" in result.stderr


def test_a_second_interrupt_stops_at_once() -> None:
    with command._interrupts_noted() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", "0.06"), "--rate 0.05 there, 0.06 here"),
        (("--width", "17"), "--width 16 there, 17 here"),
        (("--seed", "1"), "--seed 0 there, 1 here"),
        (("--top", "561"), "of 561 words"),
        (("--epochs", "3"), "--epochs 2 there, 3 here"),
        (("--architecture", "skip-gram"), "--architecture cbow there, skip-gram here"),
        (("--parametrization", "ntp"), "--parametrization"),
        (("--random-output",), "--random-output no there, yes here"),
        (("--base-width", "8"), "--base-width 4 there, 8 here"),
        (("--window", "5"), "--window 4 there, 5 here"),
    ],
)
def test_checkpoints_of_other_trainings_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, press: Callable[[int], None]
) -> None:
    kept = tmp_path / "kept"
    press(2)
    assert ask(*KINDS["finite"], "--checkpoint", str(kept)).exit_code == 130
    before = kept.read_bytes()
    result = ask(*KINDS["finite"], "--checkpoint", str(kept), *words)
    assert result.exit_code == 2
    assert "belongs to another training" in result.stderr
    assert message in result.stderr
    assert kept.read_bytes() == before


def test_damaged_checkpoints_are_refused(tmp_path: Path, press: Callable[[int], None]) -> None:
    kept, beside = tmp_path / "kept", tmp_path / "kept.json"
    words = (*KINDS["finite"], "--checkpoint", str(kept))
    press(150)
    assert ask(*words).exit_code == 130
    press(0)
    whole, told = kept.read_bytes(), beside.read_text()
    middle = len(whole) // 2
    kept.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "is damaged" in ask(*words).stderr
    kept.write_bytes(whole)
    for text in (None, "{}", told[:-9]):
        beside.unlink() if text is None else beside.write_text(text)
        result = ask(*words)
        assert result.exit_code == 2
        assert "put that file back" in result.stderr
    held = json.loads(told)
    beside.write_text(json.dumps(held | {"epochs": held["epochs"][:1]}))
    assert "lacks epochs" in ask(*words).stderr
    beside.write_text(told)
    assert ask(*words).exit_code == 0


def test_words_a_second_count_what_was_read_since(
    monkeypatch: pytest.MonkeyPatch, press: Callable[[int], None], tmp_path: Path
) -> None:
    """On a clock that goes a second whenever it is read, an epoch takes one."""
    clock = itertools.count()
    monkeypatch.setattr(training, "_now", lambda device: float(next(clock)))
    words = (*KINDS["finite"], "--checkpoint", str(tmp_path / "kept"))
    monkeypatch.setattr("tpbench.word2vec.record.time.perf_counter", lambda: 0.0)
    press(50)
    ask(*words)
    press(0)
    found = as_json(*words)
    blocks, tokens = found["resumed"]["blocks"], found["corpus"]["tokens"]
    assert found["words_a_second"] == [None, pytest.approx(tokens * (1 - 50 / blocks)), tokens]


def test_training_stops_where_it_is_told(tmp_path: Path) -> None:
    request = request_of(checkpoint=tmp_path / "kept")
    told: list[tuple[Moment, Epoch]] = []
    with pytest.raises(training.StoppedError, match=r"after 0\.0\d of 2 epochs"):
        learn(request, tell=lambda moment, last: told.append((moment, last)), stop=lambda: len(told) == 4)
    assert [moment.block for moment, _ in told] == [1, 2, 3, 4]
    assert {last.number for _, last in told} == {0}
    path = sampling.Path(request.corpus, request.sampling, CPU, torch.float32)
    start = initialise(Word2Vec(560, 16), named("mup"), [0, 1], base_width=4, device=CPU, dtype=torch.float32)
    assert len(list(islice(train(start, path, request.training), 4))) == 4
    assert torch.equal(torch.load(tmp_path / "kept")["tables"]["embedding"], start.embedding)
