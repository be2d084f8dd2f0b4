"""``tpbench word2vec``: what it prints, how it goes on after an interrupt, what it writes and what it refuses."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner
from word2vec_asking import CPU, KINDS, as_json, ask, request_of

from tpbench.cli import app
from tpbench.data.corpus import load
from tpbench.networks.word2vec import sampling
from tpbench.networks.word2vec.compressed import Compressed
from tpbench.networks.word2vec.kernel_limit import KernelLimit
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Sampling
from tpbench.networks.word2vec.shard_processes import ShardError
from tpbench.networks.word2vec.train import mean_loss, train
from tpbench.parametrization import Role, named
from tpbench.word2vec import training
from tpbench.word2vec.training import LOSS_POSITIONS, LOSS_SEED, learn


@pytest.fixture(scope="module")
def finite() -> dict[str, Any]:
    return as_json(*KINDS["finite"])


@pytest.fixture(scope="module")
def infinite() -> dict[str, Any]:
    return as_json(*KINDS["identity"])


# ---------------------------------------------------------------------------------------------------------------


def slowly_right(vectors: Vectors, questions: np.ndarray) -> list[bool]:
    """Answer analogies one by one, from the vectors themselves."""
    rows = vectors.embedding.numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for a, b, c, d in questions:
        scores = rows @ (rows[b] - rows[a] + rows[c])
        scores[[a, b, c]] = -np.inf
        found.append(bool(np.argmax(scores) == d))
    return found


@pytest.mark.parametrize("table", ["mup", "ntp"])
def test_numbers_are_those_of_networks_trained_one_by_one(table: str, agree: Callable[..., None]) -> None:
    finite = as_json(*KINDS["finite"], "--parametrization", table)
    request = request_of()
    path = sampling.Path(request.corpus, request.sampling, CPU, torch.float32)
    unseen = sampling.Path(request.corpus, Sampling(4, 5, 1e-2, 64, 16, seed=LOSS_SEED), CPU, torch.float32)
    questions, sections = request.corpus.analogies.questions, request.corpus.analogies.section
    losses, rights = [], []
    for seed in (0, 1):
        network = Word2Vec(560, 16)
        vectors = initialise(network, named(table), [seed], base_width=4, device=CPU, dtype=torch.float32)
        states = [vectors.copy()]
        states += [vectors.copy() for moment in train(vectors, path, request.training) if moment.ends_epoch]
        losses.append([float(mean_loss(state, unseen, LOSS_POSITIONS // 64)) for state in states])
        rights.append([slowly_right(state, questions) for state in states])
    shares = np.array(rights).mean(axis=2)  # (seed, epoch)
    assert shares.max() > 0, "the test would say nothing of accuracy"
    agree(finite["loss"]["mean"], np.mean(losses, axis=0), rtol=1e-5)
    assert finite["loss"]["standard_error"][0] < 1e-6, "all networks start at the zero function"
    expected = [statistics.stdev(pair) / 2**0.5 for pair in zip(*losses, strict=True)]
    agree(finite["loss"]["standard_error"][1:], expected[1:], rtol=0.02)
    # float32 sums in another order may turn a near tie
    assert np.abs(np.array(finite["accuracy"]["mean"]) - shares.mean(axis=0)).max() * len(questions) < 3
    name = request.corpus.analogies.names[0]
    its = np.array(rights)[:, :, sections == 0].mean(axis=2)
    assert finite["sections"][name]["questions"] == (sections == 0).sum()
    assert np.abs(np.array(finite["sections"][name]["mean"]) - its.mean(axis=0)).max() * (sections == 0).sum() < 3


def test_json_says_all_that_was_asked_and_measured(finite: dict[str, Any], infinite: dict[str, Any]) -> None:
    corpus = load("planted", tokens=9000, top=560)
    for found, width, kind, seeds in ((finite, 16, "finite", [0, 1]), (infinite, "inf", "identity", [0])):
        assert (found["width"], found["kind"], found["seeds"]) == (width, kind, seeds)
        assert found["corpus"] == {
            "name": "planted",
            "tokens": len(corpus.tokens),
            "vocabulary": 560,
            "digest": corpus.digest,
        }
        assert found["training"] == {"epochs": 2, "rate": 0.05, "decay": 1e-3, "floor": 1e-4}
        assert found["sampling"]["window"] == 4
        assert found["parametrization"]["name"] == "mup"
        assert found["epochs"] == [0, 1, 2]
        assert list(found["sections"]) == list(corpus.analogies.names)
        for column in (found["loss"], found["accuracy"], *found["sections"].values()):
            assert len(column["mean"]) == len(column["standard_error"]) == 3
        assert found["words_a_second"][0] is None
        assert min(found["words_a_second"][1:]) > 0
        assert found["resumed"] is None
        assert found["files"] == {}
        assert found["separation"]["groups"] == list(corpus.groups)[:2]
        shares = [found["sections"][name] for name in corpus.analogies.names]
        total = sum(each["questions"] * each["mean"][2] for each in shares if each["questions"])
        assert total / sum(each["questions"] for each in shares) == pytest.approx(found["accuracy"]["mean"][2])
    assert infinite["loss"]["standard_error"] == [None] * 3, "one network does not tell an error"
    assert infinite["separation"]["standard_error"] is None
    assert finite["loss"]["mean"][2] < finite["loss"]["mean"][0]


def test_wide_networks_come_near_the_limit(infinite: dict[str, Any]) -> None:
    def away(*words: str) -> float:
        found = as_json("--seeds", "2", "--rate", "0.2", *words)
        return abs(found["loss"]["mean"][1] - limit["loss"]["mean"][1])

    limit = as_json("--width", "inf", "--rate", "0.2")
    assert away("--width", "512") < away("--width", "8") / 8, "the mean's bias is of size 1/n"
    same = as_json(*KINDS["identity"], "--parametrization", "mean-field")
    assert same["loss"] == infinite["loss"], "mean field is muP in another gauge"


def test_compressed_limits_come_near_the_limit(agree: Callable[..., None]) -> None:
    def losses(*words: str) -> list[float]:
        found = as_json("--rate", "0.2", *words)
        means: list[float] = found["loss"]["mean"]
        return means

    limit = losses("--width", "inf")
    agree(losses("--width", "inf", "--compressed", "560"), limit, rtol=1e-4)
    away = [abs(losses("--width", "inf", "--compressed", rank)[2] - limit[2]) for rank in ("8", "64", "256")]
    assert away[2] < away[1] / 2 < away[0] / 4
    compressed = learn(request_of(width=None, rank=8)).state
    kernel = learn(request_of(width=None, parametrization=named("ntp"))).state
    assert isinstance(compressed, Compressed)
    assert isinstance(kernel, KernelLimit)
    agree(compressed.kept, kernel.embedding_size, rtol=1e-6)
    assert compressed.kept.max() < 1, "weight decay shrinks what is not in the columns too"


def test_a_kernel_limit_learns_no_features() -> None:
    found = as_json(*KINDS["kernel limit"])
    assert found["kind"] == "kernel limit"
    assert found["accuracy"]["mean"] == [0.0, 0.0, 0.0]
    assert found["loss"]["mean"][2] < found["loss"]["mean"][1] < found["loss"]["mean"][0]
    other = as_json(*KINDS["kernel limit"], "--seed", "1")
    assert other["loss"]["mean"][0] != found["loss"]["mean"][0], "another seed is another first function"


def test_first_logits_of_the_kernel_limit_have_the_law_of_wide_networks() -> None:
    request = request_of(width=None, parametrization=named("ntp"), zero_output=False)
    drawn = training._first_logits(request, 400)
    assert drawn is not None
    network = Word2Vec(400, 2048, zero_output=False)
    wide = initialise(network, named("ntp"), [0], base_width=4, device=CPU, dtype=torch.float32)
    for logits in (drawn, wide.embedding @ wide.output.T):
        assert float(logits.mean()) == pytest.approx(0, abs=0.01)
        assert float(logits.square().mean()) == pytest.approx(1 / 4, rel=0.03)
    assert training._first_logits(request_of(width=None, parametrization=named("ntp")), 9) is None


@pytest.mark.slow
def test_processes_share_the_limit_out(infinite: dict[str, Any], agree: Callable[..., None]) -> None:
    found = as_json(*KINDS["identity"], "--processes", "2")
    assert found["processes"] == 2
    assert found["epochs"] == [1, 2]
    agree(found["loss"]["mean"], infinite["loss"]["mean"][1:], rtol=1e-5)
    questions = sum(each["questions"] for each in found["sections"].values())
    away = np.array(found["accuracy"]["mean"]) - infinite["accuracy"]["mean"][1:]
    assert np.abs(away).max() * questions < 3, "float32 sums in another order may turn a near tie"
    assert found["separation"]["mean"] == pytest.approx(infinite["separation"]["mean"], rel=1e-3)
    assert min(found["words_a_second"]) > 0


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "train without --processes"),
        (ShardError("process 1 of 2 failed"), 2, "process 1 of 2"),
    ],
)
def test_what_ends_processes_is_told(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("tpbench.word2vec.shared.train_sharded", fail)
    result = ask(*KINDS["identity"], "--processes", "2")
    assert result.exit_code == status
    assert message in result.stderr


# ---------------------------------------------------------------------------------------------------------------


def test_table_says_what_it_shows(finite: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    result = ask(*KINDS["finite"])
    assert result.exit_code == 0
    assert result.stderr == "", "no progress where there is no terminal"
    share, error = (100 * finite["accuracy"][name][2] for name in ("mean", "standard_error"))
    assert f"{finite['loss']['mean'][2]:.3f}" in result.stdout
    for words in ("2 networks of width 16", "accuracy, %", "words a second", "standard error over seeds", "separation"):
        assert words in result.stdout
    assert share > 0
    assert error >= 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert len(lines) == 3
    assert float(lines[2].split("│")[3].split("±")[0]) == pytest.approx(share, rel=0.1)


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    result = ask(*KINDS["finite"])
    assert result.exit_code == 0
    for words in ("words/s", "left", "accuracy", "2/2"):
        assert words in result.stderr


def test_without_questions_there_is_no_accuracy() -> None:
    few = ("planted", "--tokens", "9000", "--top", "100")
    found = as_json("--width", "4", text=few)
    assert found["accuracy"] == {"mean": [None] * 3, "standard_error": [None] * 3}
    assert found["separation"] is None
    for told in ("no analogy question", "no separation"):
        assert any(told in note for note in found["notes"])
    assert "no analogy question" in ask("--width", "4", text=few).stdout


# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--width", "wide"), "--width is inf or a whole number"),
        (("--width", "0"), "--width is inf or a whole number"),
        (("--width", "inf", "--seeds", "2"), "the limit is one"),
        (("--width", "inf", "--parametrization", "sp"), "no infinite-width limit is known here, so give a --width"),
        (("--width", "inf", "--parametrization", "ntp", "--save", "v.npz"), "its embeddings never move"),
        (("--compressed", "8"), "this is a finite training, so leave --compressed out"),
        (("--compressed", "8", "--width", "inf", "--parametrization", "ntp"), "this is a kernel limit training"),
        (("--compressed", "8", "--width", "inf", "--random-output"), "and no --random-output"),
        (("--compressed", "999", "--width", "inf"), "1 … 560 columns"),
        (("--compressed", "0", "--width", "inf"), "1 … 560 columns"),
        (("--compressed", "8", "--width", "inf", "--save", "v.npz"), "only a part of them"),
        (("--compressed", "8", "--width", "inf", "--processes", "2"), "got 2 for the compressed training"),
        (("--seeds", "0"), "--seeds is at least 1"),
        (("--seed", "-1"), "--seed is at least 0"),
        (("--parametrization", "mop"), "did you mean"),
        (("--architecture", "bow"), "did you mean 'cbow'"),
        (("--epochs", "0"), "training needs an epoch"),
        (("--rate", "0"), "a rate above 0"),
        (("--window", "0"), "a window of at least 1"),
        (("--block", "40"), "--block is a multiple of 16"),
        (("--block", "0"), "a block of at least 1"),
        (("--save", "vectors.bin"), "--save writes .txt, .vec, .npz files"),
        (("--path", "somewhere"), "takes no path"),
        (("--width", "²"), "--width is inf or a whole number"),
        (("--rate", "1e9"), "training diverged"),
        (("--device", "tpu"), "unknown device"),
        (("--processes", "0", "--width", "inf"), "--processes is at least 1, got 0"),
        (("--processes", "2"), "got 2 for the finite training"),
        (("--processes", "2", "--width", "inf", "--save", "v.npz"), "leave --save and --checkpoint out"),
        (("--processes", "999", "--width", "inf"), "is split over 1 to 560 processes"),
    ],
)
def test_refusals_name_what_came_and_a_remedy(words: tuple[str, ...], message: str) -> None:
    result = ask(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_unknown_corpora_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'planted'" in ask(text=("plantd",)).stderr
    assert "there is no file" in ask("--path", str(tmp_path / "none"), text=("text8",)).stderr
    result = ask("--checkpoint", str(tmp_path))
    assert result.exit_code == 2
    assert "name a file in it" in result.stderr
    (tmp_path / "file").write_text("")
    for option, value in (("--save", "file/v.npz"), ("--checkpoint", "file/kept")):
        result = ask(option, str(tmp_path / value))
        assert result.exit_code == 2
        assert "a file and not a directory" in result.stderr


def test_tables_larger_than_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.os, "sysconf", lambda name: 1000)
    for words, remedy in ((("--width", "inf"), "--top"), (("--width", "2000"), "--width")):
        result = ask(*words)
        assert result.exit_code == 2
        assert "there are 0.0 GB of memory" in result.stderr
        assert remedy in result.stderr


def test_growing_first_logits_are_refused() -> None:
    table = named("ntp").replacing(Role.OUTPUT, b=named("ntp").output.b - 1)
    with pytest.raises(ValueError, match="leave --random-output out"):
        training._first_logits(request_of(width=None, parametrization=table, zero_output=False), 5)


def test_help_imports_no_torch() -> None:
    code = "import sys; from tpbench.cli import app; import typer.testing as t; "
    code += "[r] = [t.CliRunner().invoke(app, ['word2vec', '--help'])]; assert r.exit_code == 0; "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_skip_gram_learns_real_text_at_its_defaults() -> None:
    """At CBOW's rate it diverges there: the sum over a block's pairs overshoots."""
    words = (
        "tiny",
        "--tokens",
        "30000",
        "--epochs",
        "1",
        "--width",
        "8",
        "--seeds",
        "1",
        "--architecture",
        "skip-gram",
    )
    done = CliRunner().invoke(app, ["word2vec", *words, "--device", "cpu", "--json"])
    first, last = json.loads(done.stdout)["loss"]["mean"]
    assert last < 0.95 * first
    refused = CliRunner().invoke(app, ["word2vec", *words, "--device", "cpu", "--rate", "0.05"])
    assert refused.exit_code == 2
    assert "training diverged" in refused.stderr
