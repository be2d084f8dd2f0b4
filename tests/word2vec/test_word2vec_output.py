"""What ``tpbench word2vec`` writes: vectors, the plane of two groups of words, pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from word2vec_asking import CPU, KINDS, as_json, ask, request_of

from tpbench.data.corpus import load
from tpbench.networks.word2vec.model import Vectors
from tpbench.word2vec.output import draw_epochs, draw_plane
from tpbench.word2vec.record import Epoch, plane_of
from tpbench.word2vec.training import learn


@pytest.fixture(scope="module")
def finite() -> dict[str, Any]:
    return as_json(*KINDS["finite"])


def test_vectors_are_written_as_other_programs_read_them(tmp_path: Path, agree: Callable[..., None]) -> None:
    request = request_of()
    learned = learn(request)
    assert isinstance(learned.state, Vectors)
    expected = learned.state.by_seed(learned.state.embedding).numpy()
    for suffix in ("npz", "txt", "vec"):
        result = ask(*KINDS["finite"], "--save", str(tmp_path / f"v.{suffix}"))
        assert result.exit_code == 0
        assert f"vectors: {tmp_path / f'v.{suffix}'}" in result.stderr
    with np.load(tmp_path / "v.npz") as held:
        assert tuple(held["words"]) == request.corpus.vocabulary
        assert np.array_equal(held["vectors"], expected)
    read = KeyedVectors.load_word2vec_format(str(tmp_path / "v.txt"))
    assert tuple(read.index_to_key) == request.corpus.vocabulary
    assert np.array_equal(read.vectors, expected[0]), "nine digits hold a float32"
    assert (tmp_path / "v.vec").read_bytes() == (tmp_path / "v.txt").read_bytes()


def test_plane_is_that_of_explicit_vectors(finite: dict[str, Any], agree: Callable[..., None]) -> None:
    request = request_of()
    learned = learn(request)
    assert isinstance(learned.state, Vectors)
    plane = learned.plane
    assert plane is not None
    words = np.concatenate([request.corpus.groups[name] for name in plane.groups])
    for seed, rows in enumerate(learned.state.by_seed(learned.state.embedding).numpy().astype(np.float64)):
        chosen = rows[words] / np.linalg.norm(rows[words], axis=1, keepdims=True)
        u, s, _ = np.linalg.svd(chosen - chosen.mean(axis=0), full_matrices=False)
        agree(np.abs(plane.points[seed]), np.abs(u[:, :2] * s[:2]), rtol=1e-4)
    assert finite["separation"]["mean"] == pytest.approx(statistics.mean(plane.separations), rel=1e-4)
    assert [word for group in plane.groups.values() for word in group] == [request.corpus.vocabulary[w] for w in words]
    equal = replace(learned.state, embedding=torch.ones_like(learned.state.embedding))
    assert plane_of(equal, request.corpus, CPU, 0) is None, "all words in one point"
    few = load("planted", tokens=9000, top=100)
    assert plane_of(learned.state, few, CPU, 0) is None, "no group is left"


def test_pictures_show_the_numbers(tmp_path: Path, agree: Callable[..., None]) -> None:
    epochs = [Epoch(0, (3.0, 5.0), ((1, 0), (0, 1)), None), Epoch(1, (2.0, 3.0), ((2, 1), (2, 2)), 10.0)]
    accuracy, loss = draw_epochs("what was trained", epochs, [2, 2]).axes
    agree(accuracy.lines[0].get_ydata(), np.array([0.25, 0.875]))
    agree(loss.lines[0].get_ydata(), np.array([4.0, 2.5]))
    band = loss.collections[0].get_paths()[0].vertices
    assert sorted({float(y) for _, y in band}) == [2.0, 3.0, 5.0], "mean ± standard error: 4 ± 1 and 2.5 ± 0.5"
    assert len(draw_epochs("no question", epochs, [0, 0]).axes) == 1
    result = ask(*KINDS["identity"], "--plot", "--out", str(tmp_path))
    assert result.exit_code == 0
    for name in ("epochs", "map"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"picture of the {name}: {tmp_path / f'{name}.png'}" in result.stderr


def test_planes_say_whose_they_are() -> None:
    request = request_of()
    plane = learn(request).plane
    assert plane is not None
    [axes] = draw_plane("title", plane, "mup", 16, 0, 2).axes
    assert "n = 16, seed 0" in axes.get_title(loc="left")
    [axes] = draw_plane("title", plane, "mup", None, 0, 2).axes
    assert axes.get_title(loc="left") == "mup, infinite width, muP"
    [kernel] = draw_plane("title", plane, "ntp", None, 0, 2, kernel=True).axes
    assert kernel.get_title(loc="left") == "ntp, infinite width, kernel limit"
    drawn = np.concatenate(
        [np.column_stack(line.get_data()) for line in axes.lines if line.get_label() in plane.groups]
    )
    assert np.allclose(drawn, plane.points[0])
