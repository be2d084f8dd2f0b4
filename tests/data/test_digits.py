"""The digits, against scikit-learn's own loader as the second road."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tpbench.data import digits


def test_they_are_scikit_learns_digits() -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    centred = pixels / 16 - (pixels / 16).mean(axis=0)
    expected = centred * np.sqrt(64) / np.linalg.norm(centred, axis=1, keepdims=True)
    dataset = digits.load()
    assert dataset.inputs.shape == (1797, 64)
    np.testing.assert_allclose(dataset.inputs, expected, rtol=1e-11, atol=1e-13)
    assert dataset.labels is not None
    assert (dataset.labels == labels).all()


def test_they_lie_on_the_sphere() -> None:
    np.testing.assert_allclose((digits.load().inputs ** 2).mean(axis=1), 1.0, rtol=1e-14)


def test_loading_twice_gives_the_same_digest() -> None:
    assert digits.load().digest == digits.load().digest


def test_another_file_is_rejected_with_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(digits.bundled_file().read_bytes()[:-1])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"has sha256 {found}, expected {digits.SHA256}"):
        digits.read_checked(path, digits.SHA256)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.gz, where there is no file"):
        digits.read_checked(tmp_path / "nothing.gz", digits.SHA256)


def test_without_scikit_learn_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        digits.load()
