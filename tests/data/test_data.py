"""The table of data sets: names, the cache, and what an import costs."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest

from tpbench import data
from tpbench.data.dataset import select


@pytest.mark.parametrize("name", ["digits", "gaussian"])
def test_a_selection_is_what_select_gives(name: str) -> None:
    loaded, expected = data.load(name, examples=30, seed=4), select(data.DATASETS[name](), 30, 4)
    np.testing.assert_array_equal(loaded.inputs, expected.inputs)
    assert loaded.digest == expected.digest


@pytest.mark.parametrize("name", data.DATASETS)
def test_every_data_set_says_what_it_is(name: str) -> None:
    try:
        dataset = data.load(name, examples=10)
    except FileNotFoundError as missing:
        pytest.skip(f"{name} is NOT tested: {missing}")
    assert dataset.name == name
    assert all((dataset.source, dataset.licence, dataset.normalisation))
    assert len(bytes.fromhex(dataset.digest)) == 32


def test_the_whole_set_is_loaded_once_whatever_the_seed() -> None:
    assert data.load("digits") is data.load("digits", seed=3)
    assert data.load("digits").examples == 1797


def test_another_seed_is_another_selection() -> None:
    first, second = (data.load("digits", examples=10, seed=seed) for seed in (0, 1))
    assert first.digest != second.digest


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(ValueError, match="no data set 'fashion_mnist': did you mean 'fashion-mnist'"):
        data.load("fashion_mnist")
    with pytest.raises(ValueError, match=r"no name is close to it.*digits, fashion-mnist, gaussian"):
        data.load("xyz")


def test_neither_torch_nor_scikit_learn_is_imported() -> None:
    code = "import sys; from tpbench import data; data.load('digits'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "tpbench.data.digits" in imported
    assert not {"torch", "sklearn", "scipy", "pandas"} & imported


def test_the_examples_in_the_docstring_hold() -> None:
    failed, tried = doctest.testmod(data)
    assert tried > 0
    assert failed == 0
