"""The store: one run is one file, complete or absent.

A run's file ``<out>/runs/<digest>.jsonl.gz`` holds JSON lines: a header (configuration and provenance), the
rows in blocks (see ``blocks``), and a footer that marks the file complete and holds a checksum of the rows. It is
written to a temporary file, synchronised to the disk and renamed, so that a kill at any moment leaves either the
whole file or none.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tpbench.bench.atomic import StoreError, explain, write_atomically
from tpbench.bench.blocks import json_line, read_rows, write_rows
from tpbench.bench.claim import Point, Row
from tpbench.bench.table import join, of_columns

__all__ = [
    "FORMAT",
    "DamagedRun",
    "MissingRuns",
    "Run",
    "Status",
    "StoreError",
    "load",
    "path_of",
    "read_header",
    "read_run",
    "set_aside",
    "status",
    "write_run",
]

FORMAT = 2
"""The version of the file format; a file of another version counts as damaged."""

SUFFIX = ".jsonl.gz"

COMPRESSION = 1
"""The least: digits of measurements are random, so the usual level saves a tenth of a file at six times the cost."""


class DamagedRun(Exception):  # noqa: N818 - what happened, in the words of the field
    """A run's file cannot be trusted; the message says why and what to do."""


class MissingRuns(Exception):  # noqa: N818
    """Runs that a table needs are not in the store; ``points`` holds them."""

    def __init__(self, message: str, points: tuple[Point, ...] = ()) -> None:
        super().__init__(message)
        self.points = points


class Status(StrEnum):
    """What the store holds of a point."""

    COMPLETE = "complete"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Run:
    """A complete file: its header, its rows as a tidy table (columns: ``table.DTYPES``) and its footer."""

    header: Mapping[str, Any]
    rows: pd.DataFrame
    footer: Mapping[str, Any]

    @property
    def point(self) -> Point:
        """The point that was run."""
        return _point(self.header["point"])


class _Text(NamedTuple):
    """The three parts of a file whose checksum was found right; ``rows`` is still text."""

    header: dict[str, Any]
    rows: bytes
    footer: dict[str, Any]


def path_of(runs: Path, point: Point) -> Path:
    """Return where the file of a point lies, whether it exists or not."""
    return runs / f"{point.digest}{SUFFIX}"


def write_run(runs: Path, point: Point, rows: Iterable[Row], provenance: Mapping[str, Any], seconds: float) -> Path:
    """Write the rows of one run and return the path of its file; an earlier file of the point is replaced.

    ``seconds`` is the wall time of the run. Raises ``StoreError`` when the directory cannot be written or is
    full (files already there stay as they are), ``ValueError`` or ``TypeError`` when a row or the
    configuration is not what it should be.
    """
    body, count = write_rows(rows)
    header = {
        "kind": "header",
        "format": FORMAT,
        "digest": point.digest,
        "columns": Row._fields,
        "point": point.as_config(),
        "provenance": dict(provenance),
    }
    _check_configuration(point)
    footer = {
        "kind": "footer",
        "rows": count,
        "seconds": seconds,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    path = path_of(runs, point)
    # mtime=0: the same rows, provenance and seconds give the same bytes.
    packed = gzip.compress(json_line(header) + body + json_line(footer), compresslevel=COMPRESSION, mtime=0)
    write_atomically(path, packed)
    return path


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a file without reading its rows (whose checksum is therefore not checked).

    Raises ``FileNotFoundError`` when there is no file, ``DamagedRun`` when its beginning is not a header.
    """
    with _damage(path), explain("read", path), gzip.open(path, "rb") as file:
        return _header(file.readline(), path)


def read_run(path: Path) -> Run:
    """Return the run that a file holds.

    Raises ``FileNotFoundError`` when there is no file, ``DamagedRun`` when it is cut short, of another format
    version, not gzip, does not match its checksum, or holds a configuration other than its name says.
    """
    with _damage(path):
        text = _read_text(path)
        table = of_columns(_point(text.header["point"]), read_rows(text.rows))
        return Run(text.header, table, text.footer)


def status(runs: Path, point: Point) -> Status:
    """Say whether the store holds a complete file of a point, a damaged one, or none."""
    path = path_of(runs, point)
    try:
        with _damage(path):
            _read_text(path)
    except FileNotFoundError:
        return Status.ABSENT
    except DamagedRun:
        return Status.DAMAGED
    return Status.COMPLETE


def set_aside(path: Path) -> Path:
    """Move a damaged file to the directory ``set-aside`` beside it and return its new path.

    Nothing is deleted and nothing overwritten: a second file of that name gets a number. Raises
    ``FileNotFoundError`` when the file is no longer there.
    """
    directory = path.parent / "set-aside"
    with explain("write", directory):
        directory.mkdir(parents=True, exist_ok=True)
        target = _reserve(directory, path.name)
        try:
            path.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return target


def load(runs: Path, points: Iterable[Point]) -> pd.DataFrame:
    """Return the rows of all points as one table; a point given twice counts once.

    Raises ``MissingRuns`` when files are absent or damaged: how many, and the command that computes them.
    """
    wanted = {point.digest: point for point in points}
    frames, missing = [], []
    for point in wanted.values():
        try:
            frames.append(read_run(path_of(runs, point)).rows)
        except (FileNotFoundError, DamagedRun):
            missing.append(point)
    if missing:
        damaged = sum(path_of(runs, point).exists() for point in missing)
        raise MissingRuns(
            f"{len(missing)} of {len(wanted)} runs are missing in {runs}"
            f"{f' ({damaged} of them damaged)' if damaged else ''}; "
            "compute them with `tpbench run`, for the same claims, profile and output directory",
            tuple(missing),
        )
    return join(frames)


def _check_configuration(point: Point) -> None:
    """A configuration must survive JSON, or its file could never be found to match its name."""
    read_back = _point(json.loads(json.dumps(point.as_config())))
    if read_back.digest != point.digest:
        raise ValueError(
            f"the configuration of a run of {point.experiment!r} changes when it is written as JSON and read "
            "back; use words for its keys, and numbers, words, lists and objects for its values"
        )


def _point(config: Mapping[str, Any]) -> Point:
    return Point(**{**config, "seeds": tuple(config["seeds"])})


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn whatever a wrong file makes the readers raise into ``DamagedRun``."""
    try:
        yield
    except EOFError as error:
        raise _damaged(path, "it is cut short") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"it is not a sound gzip file ({error})") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _damaged(path, f"its contents are not those of a run ({error})") from error


def _damaged(path: Path, why: str) -> DamagedRun:
    return DamagedRun(f"{path} is damaged: {why}; `tpbench run` sets the file aside and computes the run again")


def _header(line: bytes, path: Path) -> dict[str, Any]:
    """Return a header after checking its format version and that its configuration is the file's own."""
    if not line.endswith(b"\n"):
        raise EOFError
    header: dict[str, Any] = json.loads(line)
    if header["kind"] != "header":
        raise _damaged(path, "its first line is not a header")
    if header["format"] != FORMAT:
        raise _damaged(path, f"it is of format version {header['format']}, and this version of tpbench reads {FORMAT}")
    if header["columns"] != list(Row._fields):
        raise _damaged(path, f"its rows hold {header['columns']} and not {list(Row._fields)}")
    digest = _point(header["point"]).digest
    named = path.name.removesuffix(SUFFIX)
    if not digest == header["digest"] == named:
        raise _damaged(path, f"its configuration has the digest {digest}, its name says {named}")
    return header


def _read_text(path: Path) -> _Text:
    """Return the parts of a file after checking all that can be checked without parsing the rows."""
    with explain("read", path):
        packed = path.read_bytes()
    data = gzip.decompress(packed)
    first, _, rest = data.partition(b"\n")
    header = _header(first + b"\n" if rest else first, path)
    cut = rest.rstrip(b"\n").rfind(b"\n") + 1
    rows, last = rest[:cut], rest[cut:]
    footer = json.loads(last)
    if not isinstance(footer, dict) or footer.get("kind") != "footer":
        raise _damaged(path, "it is cut short: it has no footer")
    if hashlib.sha256(rows).hexdigest() != footer["sha256"]:
        raise _damaged(path, "its rows do not match their checksum")
    return _Text(header, rows, footer)


def _reserve(directory: Path, name: str) -> Path:
    """Create an empty file of a name that nobody has yet, so that a rename onto it destroys nothing."""
    number = 0
    while True:
        target = directory / (f"{name}.{number}" if number else name)
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return target
