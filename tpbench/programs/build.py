"""From symbols to a program: the ancestry of its outputs, in the order of writing, every value with a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tpbench.programs.instructions import Binding, bound_names
from tpbench.programs.program import Program
from tpbench.programs.symbols import Node, Scalar, Symbol, Vector


def program(*outputs: Vector | Scalar, **named: Vector | Scalar) -> Program:
    """Return the program that computes the outputs. Keywords name outputs, and bind symbols that have no name yet.

    Raises ``ValueError`` where it is no program (see ``Program``).
    """
    asked: tuple[Any, ...] = (*outputs, *named.values())
    for value in asked:
        if not isinstance(value, Vector | Scalar):
            came = type(value).__name__
            raise ValueError(f"outputs are vectors and scalars, got {came}: ask for its products with vectors")
    nodes = _ancestry(asked)
    wanted = {value.node: name for name, value in named.items() if value.node.name is None}
    names = _names(nodes, wanted)
    bindings = [_bound(node, names) for node in nodes]
    found = [names[value.node][value.place] for value in asked]
    for keyword, value in named.items():
        known = names[value.node][value.place]
        if known != keyword:
            raise ValueError(f"output {keyword!r} is bound as {known!r}: give it one name")
    return Program(tuple(bindings), tuple(dict.fromkeys(found)))


def _ancestry(symbols: Iterable[Symbol]) -> list[Node]:
    found: dict[Node, None] = {}
    left = [symbol.node for symbol in symbols]
    while left:
        node = left.pop()
        if node not in found:
            found[node] = None
            left.extend(parent.node for parent in node.parents)
    return sorted(found, key=lambda node: node.serial)


def _names(nodes: Sequence[Node], wanted: Mapping[Node, str]) -> dict[Node, tuple[str, ...]]:
    """Return the names that each node binds: its own, the one wanted, or the next free one of its prefix."""
    given = {node: tuple((node.name or wanted.get(node, "")).split(",")) for node in nodes}
    taken = {name for names in given.values() for name in names}
    counts: dict[str, int] = {}
    for node in nodes:
        while given[node] == ("",):
            counts[node.prefix] = counts.get(node.prefix, 0) + 1
            name = f"{node.prefix}{counts[node.prefix]}"
            if name not in taken:
                given[node] = (name,)
    return given


def _bound(node: Node, names: Mapping[Node, tuple[str, ...]]) -> Binding:
    binding = node.bind(names[node][0], tuple(names[p.node][p.place] for p in node.parents))
    if bound_names(binding) != names[node]:
        raise ValueError(
            f"{', '.join(bound_names(binding))!r} was to be named {', '.join(names[node])!r}: names are not empty and "
            "have no commas, and an initial vector keeps the name that it was made with"
        )
    return binding
