"""Laws of the store: what is written is read back, what is damaged is seen, nothing complete is ever lost."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.bench import atomic, store
from tpbench.bench.claim import Point, Row
from tpbench.bench.store import DamagedRun, MissingRuns, Status, StoreError
from tpbench.bench.table import DTYPES

PROVENANCE = {"commit": "abc", "device": "cpu"}
ROWS = [Row("size", 0.5 * i, seed=i % 3, step=i, layer=1, index=2) for i in range(20)]

numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)
places = st.integers(-1, 2**31 - 1)
rows_of_any_kind = st.lists(
    st.builds(
        Row,
        quantity=st.text(max_size=5),
        value=numbers,
        seed=st.integers(-(2**63), 2**63 - 1),
        step=places,
        layer=places,
        index=places,
    ),
    max_size=8,
)


def a_point(width: int = 64, **config: Any) -> Point:
    return Point("gaussian", "mup", width, (0, 1, 2), {"steps": 3, **config}, "c0de")


def rewrite(path: Path, change: Any) -> None:
    """Pass the text of a file through ``change`` and pack it again."""
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), mtime=0))


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_any_kind)
def test_rows_survive_the_round_trip(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = store.read_run(store.write_run(Path(folder), a_point(), rows, {}, 1.0)).rows
    assert list(table.columns) == list(DTYPES)
    assert len(table) == len(rows)
    assert (table["experiment"] == "gaussian").all()
    assert (table["parametrization"] == "mup").all()
    assert (table["width"] == 64).all()
    for name in Row._fields:
        for read, written in zip(table[name], [getattr(row, name) for row in rows], strict=True):
            if isinstance(written, float):
                assert math.isnan(read) if math.isnan(written) else repr(float(read)) == repr(written)
            else:
                assert read == written


def test_dtypes_are_compact_and_words_are_categories(tmp_path: Path) -> None:
    for rows in (ROWS, []):
        table = store.read_run(store.write_run(tmp_path, a_point(), rows, {}, 1.0)).rows
        for name, dtype in DTYPES.items():
            assert table[name].dtype == dtype


def test_numpy_numbers_are_rows_too(tmp_path: Path) -> None:
    rows = [Row("size", np.float32(0.1), seed=np.int64(7), step=np.int32(1))]  # type: ignore[arg-type]
    table = store.read_run(store.write_run(tmp_path, a_point(), rows, {}, 1.0)).rows
    assert table["value"][0] == float(np.float32(0.1))
    assert (table["seed"][0], table["step"][0]) == (7, 1)


def test_every_line_is_strict_json(tmp_path: Path) -> None:
    rows = [Row("size", value) for value in (math.nan, math.inf, -math.inf, 1.0)]
    path = store.write_run(tmp_path, a_point(), rows, PROVENANCE, 1.0)

    def reject(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    lines = gzip.decompress(path.read_bytes()).splitlines()
    parsed = [json.loads(line, parse_constant=reject) for line in lines]
    assert parsed[0]["kind"] == "header"
    assert parsed[-1]["kind"] == "footer"
    assert len(parsed) == 1 + 2, "one block of rows"
    assert parsed[1] == ["size", ["nan", "inf", "-inf", 1.0], -1, -1, -1, -1]


def test_header_and_footer_say_what_was_run(tmp_path: Path) -> None:
    point = a_point()
    path = store.write_run(tmp_path / "runs", point, iter(ROWS), PROVENANCE, 2.5)
    assert path == tmp_path / "runs" / f"{point.digest}.jsonl.gz"
    run = store.read_run(path)
    assert store.read_header(path) == run.header
    assert run.header["provenance"] == PROVENANCE
    assert run.point == point
    assert run.footer["rows"] == len(ROWS)
    assert run.footer["seconds"] == 2.5


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0).read_bytes()
    assert store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0).read_bytes() == first
    assert store.write_run(tmp_path, a_point(), ROWS[:-1], PROVENANCE, 1.0).read_bytes() != first


def test_a_file_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    path = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.status(tmp_path, a_point()) is Status.DAMAGED, length
    with pytest.raises(DamagedRun, match="cut short"):
        store.read_run(path)
    path.write_bytes(whole)
    assert store.status(tmp_path, a_point()) is Status.COMPLETE


def test_a_flipped_bit_never_gives_other_rows(tmp_path: Path) -> None:
    path = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0)
    whole, rows = path.read_bytes(), store.read_run(path).rows
    seen = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            # A few bits of gzip's own header (its time stamp) mean nothing: the rows must then be the same.
            pd.testing.assert_frame_equal(store.read_run(path).rows, rows)
        except DamagedRun:
            seen += 1
    assert seen > len(whole) - 12


def replacing(old: bytes, new: bytes) -> Any:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (replacing(b'"format":2', b'"format":1'), "format version 1"),
        (replacing(b'["size",[0.0,0.5,', b'["size",[0.0,0.6,'), "checksum"),
        (lambda text: b"\n".join(text.split(b"\n")[:1] + text.split(b"\n")[2:]), "checksum"),
        (replacing(b'"steps":3', b'"steps":4'), "digest"),
        (replacing(b'"quantity","value"', b'"value","quantity"'), "rows hold"),
        (replacing(b'"kind":"header"', b'"kind":"footer"'), "not a header"),
        (lambda text: text[: text.rfind(b"{")], "footer"),
        (lambda text: text[: text.index(b"\n") + 1], "cut short"),
        (lambda text: text[: text.index(b"\n")], "cut short"),
        (lambda text: b"", "cut short"),
        (lambda text: b"[1]\n[2]\n", "contents"),
        (lambda text: b"\xff\n\n", "contents"),
    ],
)
def test_damage_is_seen_and_explained(tmp_path: Path, change: Any, why: str) -> None:
    path = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0)
    rewrite(path, change)
    with pytest.raises(DamagedRun, match=why) as caught:
        store.read_run(path)
    assert "tpbench run" in str(caught.value)
    assert store.status(tmp_path, a_point()) is Status.DAMAGED


def test_a_file_under_anothers_name_is_damaged(tmp_path: Path) -> None:
    path = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0)
    path.rename(store.path_of(tmp_path, a_point(width=128)))
    with pytest.raises(DamagedRun, match="its name says"):
        store.read_header(store.path_of(tmp_path, a_point(width=128)))
    assert store.status(tmp_path, a_point()) is Status.ABSENT


def test_plain_text_is_not_gzip(tmp_path: Path) -> None:
    path = store.path_of(tmp_path, a_point())
    path.write_text("hello")
    with pytest.raises(DamagedRun, match="gzip"):
        store.read_run(path)
    with pytest.raises(DamagedRun, match="gzip"):
        store.read_header(path)


def test_absence_is_no_damage(tmp_path: Path) -> None:
    assert store.status(tmp_path / "nowhere", a_point()) is Status.ABSENT
    with pytest.raises(FileNotFoundError):
        store.read_run(store.path_of(tmp_path, a_point()))
    with pytest.raises(FileNotFoundError):
        store.read_header(store.path_of(tmp_path, a_point()))


def test_set_aside_keeps_everything(tmp_path: Path) -> None:
    path, moved = store.path_of(tmp_path, a_point()), []
    for text in ("one", "two", "three"):
        path.write_text(text)
        moved.append(store.set_aside(path))
        assert not path.exists()
    assert [target.read_text() for target in moved] == ["one", "two", "three"]
    assert {target.parent for target in moved} == {tmp_path / "set-aside"}
    with pytest.raises(FileNotFoundError):
        store.set_aside(path)
    assert len(list((tmp_path / "set-aside").iterdir())) == 3


def test_load_stacks_runs_and_counts_a_point_once(tmp_path: Path) -> None:
    points = [a_point(width) for width in (64, 128)] + [Point("other", "sp", 64, (5,), {}, "c0de")]
    for point in points:
        store.write_run(tmp_path, point, [Row(f"q{point.width}", 1.0, seed=s) for s in point.seeds], {}, 1.0)
    table = store.load(tmp_path, [*points, points[0]])
    assert list(table["width"]) == [64, 64, 64, 128, 128, 128, 64]
    assert list(table["quantity"]) == ["q64"] * 3 + ["q128"] * 3 + ["q64"]
    assert list(table["parametrization"]) == ["mup"] * 6 + ["sp"]
    assert list(table.index) == list(range(7))
    for name, dtype in DTYPES.items():
        assert table[name].dtype == dtype
    assert store.load(tmp_path, []).empty


def test_rows_tell_the_weights_of_their_configuration(tmp_path: Path) -> None:
    points = [a_point(64), a_point(128, weights="dense"), a_point(128, weights="lazy"), a_point(256, weights="lazy")]
    for point in points:
        store.write_run(tmp_path, point, [Row("size", 1.0, seed=0)], {}, 1.0)
    table = store.load(tmp_path, points)
    assert list(zip(table["width"], table["weights"], strict=True)) == [
        (64, "dense"),  # files from before there were weights
        (128, "dense"),
        (128, "lazy"),
        (256, "lazy"),
    ]
    assert table["weights"].dtype == "category"


def test_load_says_how_many_runs_are_missing(tmp_path: Path) -> None:
    points = [a_point(width) for width in (64, 128, 256)]
    store.write_run(tmp_path, points[0], ROWS, {}, 1.0)
    store.path_of(tmp_path, points[1]).write_text("hello")
    with pytest.raises(MissingRuns, match=r"2 of 3 runs .*\(1 of them damaged\).*`tpbench run`") as caught:
        store.load(tmp_path, points)
    assert caught.value.points == tuple(points[1:])


@pytest.mark.parametrize(
    "row",
    [Row("size", 1.0, step=2**31), Row("size", 1.0, seed=2**63), Row("size", 1.0, layer=1.5)],  # type: ignore[arg-type]
)
def test_a_row_that_could_not_be_read_back_is_not_written(tmp_path: Path, row: Row) -> None:
    with pytest.raises((ValueError, TypeError)):
        store.write_run(tmp_path, a_point(), [row], {}, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_json_changes_is_refused(tmp_path: Path) -> None:
    # Sorted as numbers 2 comes before 10, sorted as words after it: the digest would change.
    with pytest.raises(ValueError, match="configuration"):
        store.write_run(tmp_path, a_point(table={2: 0, 10: 1}), ROWS, {}, 1.0)


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_a_disk_that_refuses_gives_the_remedy_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, remedy: str
) -> None:
    path = store.write_run(tmp_path, a_point(), ROWS, PROVENANCE, 1.0)
    before = path.read_bytes()

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StoreError, match=remedy) as caught:
        store.write_run(tmp_path, a_point(), ROWS[:3], PROVENANCE, 1.0)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match="not a directory"):
        store.write_run(tmp_path / "runs", a_point(), ROWS, {}, 1.0)
    with pytest.raises(StoreError, match="not a directory"):
        atomic.check_writable(tmp_path / "runs")


def test_a_file_system_that_cannot_synchronise_directories_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise = os.fsync

    def refuse_directories(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    store.write_run(tmp_path, a_point(), ROWS, {}, 1.0)
    assert store.status(tmp_path, a_point()) is Status.COMPLETE


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from tpbench.bench import atomic
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_atomically(Path(sys.argv[1]), b"half")
"""


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path / "x"], check=False)
    (of_the_dead,) = tmp_path.iterdir()
    assert of_the_dead.suffix == ".tmp"
    alive = tmp_path / of_the_dead.name.replace(of_the_dead.name.split(".")[-4], str(os.getpid()))
    elsewhere = tmp_path / ".x.00000000.1.00000000.tmp"
    old = tmp_path / ".x.00000000.2.00000000.tmp"
    foreign = tmp_path / "notes.tmp"
    for path in (alive, elsewhere, old, foreign):
        path.write_text("half")
    os.utime(old, (0, time.time() - atomic.LEFTOVER_SECONDS - 1))
    written = store.write_run(tmp_path, a_point(), ROWS, {}, 1.0)
    assert set(tmp_path.iterdir()) == {written, alive, elsewhere, foreign}


def test_the_check_for_a_writable_directory_leaves_no_file(tmp_path: Path) -> None:
    atomic.check_writable(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
