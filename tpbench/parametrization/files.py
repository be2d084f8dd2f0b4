"""The named tables, and tables read from JSON or TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from tpbench.parametrization.table import WIDTH_FREE, Exponents, Parametrization, Role, did_you_mean


def _exponents(a: str, b: str, c: str) -> Exponents:
    return Exponents(Fraction(a), Fraction(b), Fraction(c))


def _tables(*tables: Parametrization) -> dict[str, Parametrization]:
    return {table.name: table for table in tables}


PARAMETRIZATIONS: Mapping[str, Parametrization] = _tables(
    Parametrization(
        name="sp",
        source="standard parametrization with constant learning rate; arXiv:2011.14522, section 3",
        input=_exponents("0", "0", "0"),
        hidden=_exponents("0", "1/2", "0"),
        output=_exponents("0", "1/2", "0"),
    ),
    Parametrization(
        name="sp-over-n",
        source="standard parametrization with learning rate eta/n; arXiv:2011.14522, table 1",
        input=_exponents("0", "0", "1"),
        hidden=_exponents("0", "1/2", "1"),
        output=_exponents("0", "1/2", "1"),
        output_bias=_exponents("0", "0", "1"),
    ),
    Parametrization(
        name="ntp",
        source="NTK parametrization; Jacot et al. 2018, arXiv:1806.07572; arXiv:2011.14522, table 1",
        input=_exponents("0", "0", "0"),
        hidden=_exponents("1/2", "0", "0"),
        output=_exponents("1/2", "0", "0"),
    ),
    Parametrization(
        name="mup",
        source="maximal update parametrization; Yang & Hu 2021, arXiv:2011.14522, table 1",
        input=_exponents("-1/2", "1/2", "0"),
        hidden=_exponents("0", "1/2", "0"),
        output=_exponents("1/2", "1/2", "0"),
    ),
    Parametrization(
        name="mean-field",
        source="mean-field scaling of one hidden layer; Mei et al. 2018, arXiv:1804.06561; arXiv:2011.14522, table 1",
        input=_exponents("0", "0", "-1"),
        hidden=None,
        output=_exponents("1", "0", "-1"),
    ),
)

_FULL = "Everett et al. 2024, arXiv:2407.05872, rates a layer under full alignment"

CONTESTED: Mapping[str, Parametrization] = _tables(
    Parametrization(
        name="sp-adam",
        source=f"standard parametrization under sign-like optimizers; {_FULL}",
        input=_exponents("0", "0", "0"),
        hidden=_exponents("0", "1/2", "1"),
        output=_exponents("0", "1/2", "1"),
    ),
    Parametrization(
        name="ntp-adam",
        source=f"NTK parametrization under sign-like optimizers; {_FULL}",
        input=_exponents("0", "0", "0"),
        hidden=_exponents("1/2", "0", "1/2"),
        output=_exponents("1/2", "0", "1/2"),
    ),
    Parametrization(
        name="mup-adam",
        source=f"maximal update parametrization under sign-like optimizers; {_FULL}; Yang & Littwin 2023, "
        "arXiv:2308.01814",
        input=_exponents("-1/2", "1/2", "1/2"),
        hidden=_exponents("0", "1/2", "1"),
        output=_exponents("1/2", "1/2", "1/2"),
    ),
    Parametrization(
        name="mean-field-adam",
        source=f"mean-field parametrization under sign-like optimizers; {_FULL}",
        input=_exponents("0", "0", "0"),
        hidden=_exponents("1/2", "0", "1/2"),
        output=_exponents("1", "0", "0"),
    ),
    Parametrization(
        name="sp-over-root-n",
        source="standard parametrization with learning rate eta/sqrt(n) (SGD); Haas et al. 2025, arXiv:2505.22491",
        input=_exponents("0", "0", "1/2"),
        hidden=_exponents("0", "1/2", "1/2"),
        output=_exponents("0", "1/2", "1/2"),
        output_bias=_exponents("0", "0", "1/2"),
    ),
)
"""Tables that papers disagree about: rates of sign-like optimizers (``Family.ADAM``), and SP between eta and eta/n."""

NAMED: Mapping[str, Parametrization] = {**PARAMETRIZATIONS, **CONTESTED}
"""Every table that a user can name."""


def named(name: str) -> Parametrization:
    """Return a table by name; ``ValueError`` with the nearest name when there is none."""
    if name not in NAMED:
        raise ValueError(f"unknown parametrization {name!r}{did_you_mean(name, NAMED)}")
    return NAMED[name]


def table_of(word: str) -> Parametrization:
    """Return the table that a user means: a known one by name, or that of a TOML file.

    Raises ``ValueError`` for an unknown name, a bad file, and a file that takes the name of another table.
    """
    if not (word.endswith(".toml") or "/" in word):
        return named(word)
    table = read_table(Path(word))
    known = NAMED.get(table.name)
    if known is not None and replace(table, source=known.source) != known:
        raise ValueError(f"{word}: the name {table.name!r} belongs to another table; give this one a name of its own")
    return table


def from_config(config: Mapping[str, Any], where: str = "parametrization") -> Parametrization:
    """Return the table that a JSON or TOML object describes.

    The object has ``name``, ``source`` (optional), and a section a role (``input``, ``output``; ``hidden`` may be
    absent for one-hidden-layer networks; ``output_bias`` is 0, 0, 0 when absent) with ``a``, ``b`` and ``c`` as whole
    numbers, decimals or fractions in quotes ("1/2"). Raises ``ValueError`` that names ``where`` and the key.
    """
    known = {"name", "source", *(role.value for role in Role)}
    for key in config:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}{did_you_mean(key, dict.fromkeys(sorted(known)))}")
    for key in ("name", "input", "output"):
        if key not in config:
            raise ValueError(
                f"{where}: {key!r} is missing; a table needs a name and the sections [input] and [output], "
                "and [hidden] for more than one hidden layer"
            )
    roles = {role.value: _section(config[role.value], role, where) for role in Role if role.value in config}
    name, source = config["name"], config.get("source", where)
    if not isinstance(name, str) or not name.strip() or not isinstance(source, str):
        raise ValueError(f"{where}: name and source are words, got {name!r} and {source!r}")
    if not re.fullmatch(r"[\w.+-]{1,40}", name):
        raise ValueError(f"{where}: a name has letters, digits and . _ + - only, at most 40 of them; got {name!r}")
    return Parametrization(
        name=name,
        source=source,
        input=roles["input"],
        hidden=roles.get("hidden"),
        output=roles["output"],
        output_bias=roles.get("output_bias", WIDTH_FREE),
    )


def _section(section: Any, role: Role, where: str) -> Exponents:
    if not isinstance(section, Mapping) or set(section) != {"a", "b", "c"}:
        got = sorted(section) if isinstance(section, Mapping) else section
        raise ValueError(f"{where}: section [{role}] has exactly the keys a, b and c; got {got}")
    values = {}
    for key, value in section.items():
        try:
            if isinstance(value, bool):
                raise ValueError(value)
            values[key] = Fraction(str(value))
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(
                f'{where}: {role}.{key} = {value!r} is not an exponent; write a number or a fraction such as "1/2"'
            ) from error
    return Exponents(**values)


def read_table(path: Path) -> Parametrization:
    """Return the table in a TOML file; ``ValueError`` when the file is missing, not TOML, or not a table."""
    try:
        with path.open("rb") as file:
            config = tomllib.load(file)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such parametrization file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as TOML: {error}") from error
    return from_config(config, where=str(path))
