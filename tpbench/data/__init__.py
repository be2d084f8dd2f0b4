"""Data sets by name, each with its source, licence and digest.

A new data set is one file here and one line in the table.

>>> from tpbench import data
>>> digits = data.load("digits", examples=20, seed=1)
>>> digits.inputs.shape
(20, 64)
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping

from tpbench.data import digits, fashion_mnist, synthetic
from tpbench.data.dataset import Dataset, regression_targets, select
from tpbench.data.synthetic import gaussian

__all__ = ["DATASETS", "Dataset", "gaussian", "load", "regression_targets", "select"]

DATASETS: Mapping[str, Callable[[], Dataset]] = {
    "digits": digits.load,
    "fashion-mnist": fashion_mnist.load,
    "gaussian": functools.partial(synthetic.gaussian, examples=4096, features=64, seed=0),
}
"""How to make each data set whole: the training part where there are parts, and for the Gaussian data as many
features as the digits have."""


def load(name: str, *, examples: int | None = None, seed: int = 0) -> Dataset:
    """Return the named data set: whole, or a selection of ``examples`` examples (``select`` with ``seed``).

    The last few results are kept and shared, which is safe because their arrays are read-only; a whole set
    from which a selection was made is let go. Raises ``ValueError`` when the name is unknown or the set has
    too few examples, and what the loader of the set raises when its files are missing or damaged.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "no name is close to it."
        raise ValueError(f"there is no data set {name!r}: {hint} The data sets are {', '.join(DATASETS)}.")
    return _load(name, examples, 0 if examples is None else seed)


@functools.lru_cache(maxsize=4)
def _load(name: str, examples: int | None, seed: int) -> Dataset:
    whole = DATASETS[name]()
    return whole if examples is None else select(whole, examples, seed)
