"""From ``FILE.py:name`` to the program that the file holds."""

from __future__ import annotations

from pathlib import Path

from tpbench.check.load import load_module, told
from tpbench.parametrization import did_you_mean
from tpbench.programs.build import program
from tpbench.programs.program import Program


def read_program(word: str) -> tuple[str, Program]:
    """Return the program, with its name, that ``FILE.py`` or ``FILE.py:name`` holds.

    ``name``, "program" by default, is a ``Program`` or a function without arguments that returns one. Raises
    ``ValueError`` where there is none, or the file's code fails.
    """
    where, colon, name = word.rpartition(":")
    where, name = (where, name) if colon and where else (word, "program")
    if not where.endswith(".py") or not name.isidentifier():
        raise ValueError(f"say where the program is as FILE.py or FILE.py:name, got {word!r}")
    module = load_module(where)
    found = getattr(module, name, None)
    if found is None or found is program:
        made = {key: None for key, value in vars(module).items() if isinstance(value, Program)}
        hint = did_you_mean(name, made) if made else ""
        raise ValueError(
            f"{where} holds no {name!r}{hint}: write {name} = program(…) there, or a function returning one"
        )
    if callable(found) and not isinstance(found, Program):
        try:
            found = found()
        except Exception as error:
            raise ValueError(f"{word} failed: {told(error)}") from error
    if not isinstance(found, Program):
        raise ValueError(f"{word} is a {type(found).__name__}, not a program: make one with program(…) or trace(…)")
    return (name if colon else Path(where).stem), found
