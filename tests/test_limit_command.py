"""``tpbench limit``: what it prints, at infinity and at finite widths, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tpbench.cli import app
from tpbench.limit_command import with_error

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "data.npz"
    x = rng.standard_normal((4, 7))
    np.savez(path, x=x, y=np.sign(x[:, :2]), x_test=rng.standard_normal((2, 7)))
    return path


def ask(data: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["limit", "--data", str(data), "--device", "cpu", *words])


def as_json(data: Path, *words: str) -> dict[str, Any]:
    result = ask(data, "--lr", "0.5", "--steps", "3", "--json", *words)  # a later option wins
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def distance(a: dict[str, Any], b: dict[str, Any], name: str) -> float:
    """Return the largest distance in joint standard errors, from step 1 on."""
    means, errors = ([np.array(found[part][name])[1:] for found in (a, b)] for part in ("mean", "standard_error"))
    return float(np.abs((means[0] - means[1]) / np.hypot(*errors)).max())


def test_limit_dense_and_lazy_networks_agree(data: Path) -> None:
    infinite = as_json(data, "--points", "512,1024", "--seeds", "32")
    dense = as_json(data, "--width", "512", "--weights", "dense", "--seeds", "200")
    lazy = as_json(data, "--width", "512", "--weights", "lazy", "--seeds", "200")
    wide = as_json(data, "--width", "8192", "--seeds", "12")
    assert "lazy" in wide["how"], "wide networks are lazy by default"
    for name in ("output", "loss", "preactivation", "preactivation-change"):
        assert distance(dense, lazy, name) < 4.5, name
        assert distance(infinite, wide, name) < 4.5, name
    assert distance(infinite, dense, "output") < 6, "a bias of 1/n"
    assert max(infinite["standard_error"]["loss"]) < 2e-3


def test_shapes_and_labels(data: Path) -> None:
    found = as_json(data, "--width", "32", "--seeds", "3", "--hidden-layers", "3", "--batch-size", "2", "--bias")
    assert found["steps"] == [0, 1, 2, 3]
    assert np.array(found["mean"]["output"]).shape == (4, 6, 2), "trained inputs, then test inputs"
    assert np.array(found["mean"]["preactivation"]).shape == (4, 3)
    assert found["inputs"] == {"trained": 4, "test": 2}
    assert found["width"] == 32
    assert found["parametrization"]["name"] == "mup"
    assert any("rate multiplies" in text for text in found["conventions"])
    assert np.array(found["mean"]["preactivation-change"])[0].max() < 1e-12
    assert np.array(found["mean"]["loss"])[-1] < np.array(found["mean"]["loss"])[0]


def test_table_says_what_it_shows(data: Path) -> None:
    result = ask(data, "--steps", "2", "--points", "64", "--seeds", "4")
    assert result.exit_code == 0
    for word in ("loss", "|h^2|", "|Δh^1|", "f(4)", "Sobol' points", "convention: loss"):
        assert word in result.stdout
    centred = ask(data, "--steps", "1", "--points", "64", "--seeds", "4", "--parametrization", "ntp", "--centred")
    assert "f - f_0 is trained and shown" in centred.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--architecture", "cnn"), "unknown architecture 'cnn'"),
        (("--activation", "tan"), "tanh"),
        (("--parametrization", "sp"), "has no infinite-width limit"),
        (("--parametrization", "ntp"), "--centred"),
        (("--lr", "1e9", "--steps", "40", "--points", "64", "--seeds", "2"), "lower the learning rate"),
        (("--width", "wide"), "--width is inf or a whole number"),
        (("--width", "8", "--weights", "thin"), "dense, lazy or auto"),
        (("--seeds", "1"), "at least 2"),
        (("--points", "many"), "--points are powers of two"),
        (("--batch-size", "9"), "lower the batch"),
        (("--points", "1000,2000"), "--points are powers of two"),
        (("--weights", "lazy"), "give a --width"),
        (("--width", "64", "--points", "512"), "--points are those of the infinite"),
        (
            ("--width", "64", "--activation", "relu", "--lr", "1000", "--steps", "8", "--seeds", "2"),
            "training diverged",
        ),
        (("--sigma-w", "0"), "sigma_w is above 0"),
        (("--lr", "nan"), "learning rate above 0 (and finite)"),
        (("--lr", "0"), "learning rate above 0"),
        (("--loss", "mae"), "unknown loss"),
        (("--hidden-layers", "0"), "depth of at least 1"),
    ],
)
def test_refusals_name_what_came_and_a_remedy(data: Path, words: tuple[str, ...], message: str) -> None:
    result = ask(data, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, "lacks y"),
        ({"x": np.ones((3, 2)), "y": np.ones(4)}, "x (3, 2), y (4, 1)"),
        ({"x": np.ones(3), "y": np.ones(3)}, "x is (inputs, features)"),
        ({"x": np.full((3, 2), np.nan), "y": np.ones(3)}, "not finite"),
        ({"x": np.ones((3, 2)), "y": np.ones(3), "x_test": np.ones((1, 5))}, "x_test"),
    ],
)
def test_bad_data_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    result = ask(path)
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x y")
    for name in ("text.npz", "none.npz"):
        result = ask(tmp_path / name)
        assert result.exit_code == 2
        assert name in result.stderr


def test_numbers_with_errors() -> None:
    assert with_error(0.398124, 1.1e-4) == "0.39812(11)"
    assert with_error(-12.3456, 0.5) == "-12.35(50)"
    assert with_error(1.0, 0.0) == "1"
    assert with_error(3e-16, 1e-17) == "0"


def test_help_imports_no_torch() -> None:
    code = "import sys; from tpbench.cli import app; import typer.testing as t; "
    code += (
        "r = t.CliRunner().invoke(app, ['limit', '--help']); assert r.exit_code == 0; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
