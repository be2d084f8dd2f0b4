"""Where the boxes of a layered picture go: rows by depth, an order with few crossings, places near the neighbours.

The usual three steps (Sugiyama, Tagawa & Toda 1981): an edge over several rows gets a joint in each row between, rows
are ordered by the mean places of their neighbours, and places are pulled to those means as far as boxes have room.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

SWEEPS, PULLS = 12, 40
JOINT_WIDTH = 0.12

Key = Hashable
"""A box by its name, or a joint: an edge's parent and child, and the row that it crosses."""


class Layout(NamedTuple):
    """The place of every box: ``across`` (inches) and its ``row``; ``roads`` are the places across that an edge passes,
    a row each from its parent's to its child's."""

    across: Mapping[str, float]
    row: Mapping[str, int]
    roads: Mapping[tuple[str, str], tuple[float, ...]]


def layout(widths: Mapping[str, float], edges: Sequence[tuple[str, str]], gap: float) -> Layout:
    """Return where boxes of given widths (inches) go, parents above children; ``edges`` are (parent, child)."""
    row = rows(widths, edges)
    chains: dict[tuple[str, str], tuple[Any, ...]] = {
        edge: (edge[0], *((*edge, r) for r in range(row[edge[0]] + 1, row[edge[1]])), edge[1]) for edge in edges
    }
    table: list[list[Key]] = [[] for _ in range(max(row.values(), default=0) + 1)]
    for name in widths:
        table[row[name]].append(name)
    for chain in chains.values():
        for r, joint in enumerate(chain[1:-1], start=row[chain[0]] + 1):
            table[r].append(joint)
    near: dict[Key, list[Key]] = {key: [] for keys in table for key in keys}
    for chain in chains.values():
        for above, below in pairwise(chain):
            near[above].append(below)
            near[below].append(above)
    ordered = _ordered(table, near)
    across = _placed(ordered, near, {key: widths.get(key, JOINT_WIDTH) + gap for key in near})  # type: ignore[call-overload]
    roads = {edge: tuple(across[key] for key in chain) for edge, chain in chains.items()}
    return Layout({name: across[name] for name in widths}, row, roads)


def rows(names: Iterable[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the row of every name, parents above children; what has no parents stands just above its first child.

    ``names`` are in an order in which parents come first.
    """
    parents: dict[str, list[str]] = {name: [] for name in names}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for parent, child in edges:
        parents[child].append(parent)
        children[parent].append(child)
    row: dict[str, int] = {}
    for name, above in parents.items():
        row[name] = max((row[each] + 1 for each in above), default=0)
    for name, above in parents.items():
        if not above and children[name]:
            row[name] = min(row[each] for each in children[name]) - 1
    return row


def _ordered(table: list[list[Key]], near: Mapping[Key, Sequence[Key]]) -> list[list[Key]]:
    """Return the rows in the order with the fewest crossings among those that sweeping down and up meets."""
    best, fewest = table, _crossings(table, near)
    current = [list(keys) for keys in table]
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        order = range(1, len(current)) if down else range(len(current) - 2, -1, -1)
        for r in order:
            place = {key: float(i) for i, key in enumerate(current[r - 1 if down else r + 1])}
            mean = {}
            for i, key in enumerate(current[r]):
                found = [place[other] for other in near[key] if other in place]
                mean[key] = sum(found) / len(found) if found else float(i)
            current[r] = sorted(current[r], key=mean.__getitem__)
        count = _crossings(current, near)
        if count < fewest:
            best, fewest = [list(keys) for keys in current], count
    return best


def _crossings(table: Sequence[Sequence[Key]], near: Mapping[Key, Sequence[Key]]) -> int:
    total = 0
    for above, below in pairwise(table):
        place = {key: i for i, key in enumerate(below)}
        ends = [end for key in above for end in sorted(place[other] for other in near[key] if other in place)]
        total += sum(one > other for i, one in enumerate(ends) for other in ends[i + 1 :])
    return total


def _placed(
    table: Sequence[Sequence[Key]], near: Mapping[Key, Sequence[Key]], room: Mapping[Key, float]
) -> dict[Key, float]:
    """Return places across: every row keeps its order and its boxes apart, as near to its neighbours as that allows."""
    across: dict[Key, float] = {}
    for keys in table:
        across.update(zip(keys, _apart(keys, dict.fromkeys(keys, 0.0), room), strict=True))
    for pull in range(PULLS):
        for keys in table if pull % 2 == 0 else reversed(table):
            wanted = {key: _mean([across[other] for other in near[key]], across[key]) for key in keys}
            across.update(zip(keys, _apart(keys, wanted, room), strict=True))
    left = min((across[key] - room[key] / 2 for key in across), default=0.0)
    return {key: place - left for key, place in across.items()}


def _apart(keys: Sequence[Key], wanted: Mapping[Key, float], room: Mapping[Key, float]) -> list[float]:
    """Return the places nearest to the wanted ones (least squares) in this order with room for all: isotonic means."""
    offset, offsets = 0.0, []
    for i, key in enumerate(keys):
        offset += (room[keys[i - 1]] + room[key]) / 2 if i else 0.0
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []
    for key, base in zip(keys, offsets, strict=True):
        blocks.append((wanted[key] - base, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, i), (other, j) = blocks[-2:]
            blocks[-2:] = [((one * i + other * j) / (i + j), i + j)]
    level = [value for value, count in blocks for _ in range(count)]
    return [base + value for base, value in zip(offsets, level, strict=True)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
