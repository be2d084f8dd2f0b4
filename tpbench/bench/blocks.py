"""Rows as text: JSON lines, each a block of consecutive rows of one quantity.

A block is an array in the order of ``Row``'s fields: the quantity, then the values, then the coordinates. A coordinate
is one number that all rows of the block share, or ``[numbers, each]``: the numbers, each of them ``each`` times, over
and over until every value has one. One line a row says the same at ten times the time to write and to read, and a
nightly run has tens of millions of rows. Non-finite values are the words "nan", "inf" and "-inf", as JSON has no
numbers for them.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tpbench.bench.claim import Row
from tpbench.bench.table import DTYPES, words

MOST_ROWS = 2**14
"""A block holds no more rows, so that a line stays one that an editor opens."""

PLACES = ("seed", "step", "layer", "index")


class Text(NamedTuple):
    """Rows as text, and how many they are."""

    body: bytes
    rows: int


def json_line(value: object) -> bytes:
    """Return a value as one line of JSON without spaces; ``ValueError`` when it holds NaN or an infinity."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_rows(rows: Iterable[Row]) -> Text:
    """Return rows as text; ``ValueError`` or ``TypeError`` for a row that could not be read back the same."""
    lines, count = [], 0
    for block in _blocks(rows):
        lines.append(_line(block))
        count += len(block)
    return Text(b"".join(lines), count)


def read_rows(body: bytes) -> dict[str, Any]:
    """Return the columns that a text of rows has: an array a coordinate and for the values, and the quantities.

    Raises ``ValueError``, ``TypeError`` or ``OverflowError`` when the text is not one of rows.
    """
    blocks = json.loads(b"[" + b",".join(body.splitlines()) + b"]")
    if not blocks:
        return {name: [] for name in Row._fields}
    quantities, values, *places = zip(*blocks, strict=True)
    counts = list(map(len, values))
    columns = {"value": np.concatenate([np.array(each, dtype=DTYPES["value"]) for each in values])}
    for name, each in zip(PLACES, places, strict=True):
        columns[name] = np.concatenate([_spread(*one, DTYPES[name]) for one in zip(each, counts, strict=True)])
    return {**columns, "quantity": words(quantities, counts)}


def _spread(place: int | list[Any], count: int, dtype: Any) -> np.ndarray:
    """Return the coordinate of a block's rows; ``ValueError`` when the rows do not end where its numbers do."""
    if not isinstance(place, list):
        return np.full(count, np.array(place, dtype=dtype))
    numbers, each = place
    if count % (len(numbers) * each):
        raise ValueError(f"a block has {count} values, and its {len(numbers)} coordinates are for {each} values each")
    return np.tile(np.repeat(np.array(numbers, dtype=dtype), each), count // (len(numbers) * each))


def _blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield consecutive rows of one quantity, at most ``MOST_ROWS`` together."""
    for _, group in itertools.groupby(rows, key=operator.itemgetter(0)):
        while block := list(itertools.islice(group, MOST_ROWS)):
            yield block


def _line(block: Sequence[Row]) -> bytes:
    quantities, values, *places = zip(*block, strict=True)
    quantity = str(quantities[0])
    numbers: list[Any] = list(map(float, values))
    if not all(map(math.isfinite, numbers)):
        # repr gives "nan", "inf" and "-inf", which NumPy and float() read back.
        numbers = [value if math.isfinite(value) else repr(value) for value in numbers]
    columns = [_place(quantity, name, column) for name, column in zip(PLACES, places, strict=True)]
    return json_line([quantity, numbers, *columns])


def _place(quantity: str, name: str, column: Sequence[Any]) -> int | list[Any]:
    """Return a coordinate of a block, as short as it can be said."""
    numbers = list(map(operator.index, column))
    limits, least, most = np.iinfo(DTYPES[name]), min(numbers), max(numbers)
    for place in (least, most):
        if not limits.min <= place <= limits.max:
            raise ValueError(f"{quantity}: {name} {place} does not fit into {limits.bits} bits")
    if least == most:
        return least
    short, each = _runs(np.array(numbers, dtype=DTYPES[name]))
    return [_period(short).tolist(), each]


def _runs(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Return numbers that come so many times each, one after the other, and how many times."""
    each = int((numbers != numbers[0]).argmax())
    short = numbers[::each]
    whole = len(numbers) % each == 0 and bool((numbers.reshape(-1, each) == short[:, None]).all())
    return (short, each) if whole else (numbers, 1)


def _period(numbers: np.ndarray) -> np.ndarray:
    """Return the numbers that come again and again; all of them where they do not."""
    period = int((numbers[1:] == numbers[0]).argmax()) + 1
    whole = len(numbers) % period == 0 and bool((numbers.reshape(-1, period) == numbers[:period]).all())
    return numbers[:period] if whole else numbers
