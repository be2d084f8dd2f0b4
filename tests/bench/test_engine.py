"""Laws of the engines: the same rows however they are computed, and nothing complete lost however it ends.

Run as a program this file computes ``POINTS``, for the tests to kill.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tpbench.bench import store
from tpbench.bench.claim import Point, Row
from tpbench.bench.engine import Interrupted, WorkersDied, by_size, execute, pool, serial
from tpbench.bench.processes import THREAD_VARIABLES
from tpbench.bench.provenance import count_cores
from tpbench.bench.store import Status, StoreError

PROVENANCE = {"device": "cpu", "dtype": "float64"}


def point_of(width: int, **config: Any) -> Point:
    return Point("gaussian", "mup", width, (0, 1, 2), config, "c0de")


POINTS = [point_of(2**k, pause=0.01) for k in range(3, 11)]


def gaussian(point: Point) -> Iterator[Row]:
    """The root mean square of Gaussian vectors, seed by seed."""
    for seed in point.seeds:
        time.sleep(point.config.get("pause", 0.0))
        vector = np.random.default_rng((seed, point.width)).standard_normal(point.width)
        yield Row("size", float(np.sqrt(np.mean(vector**2))), seed=seed, layer=1)


def noting_its_process(point: Point) -> Iterator[Row]:
    Path(point.config["notes"], str(os.getpid())).touch()
    yield from gaussian(point)


def failing(point: Point) -> Iterator[Row]:
    if point.width == 32:
        raise FloatingPointError("it went\nwrong at width 32")
    yield from gaussian(point)


def dying(point: Point) -> Iterator[Row]:
    """Kill the process, like a kernel short of memory: once where there is a marker to leave, else always."""
    if point.width == 32:
        marker = point.config.get("marker")
        if marker is None or not Path(marker).exists():
            if marker is not None:
                Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    yield from gaussian(point)


def without_disk(point: Point) -> Iterator[Row]:
    raise StoreError("the disk is full")
    yield


def setting(threads: int) -> None:
    os.environ["THREADS_TOLD"] = str(threads)


def telling_threads(point: Point) -> Iterator[Row]:
    for index, name in enumerate((*THREAD_VARIABLES, "THREADS_TOLD")):
        yield Row("threads", float(os.environ[name]), index=index)


def telling_interrupts(point: Point) -> Iterator[Row]:
    yield Row("blocked", float(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())))


EXPERIMENTS = {function.__name__: function for function in (gaussian, noting_its_process)}


def main(out: str, workers: str, experiment: str, pause: str, deadly: str) -> None:
    """Compute ``POINTS``; ``deadly`` is "" or the name of a function of ``os`` with the call that kills."""
    if deadly:
        name, _, call = deadly.partition(" ")
        patch_to_kill(name, int(call))
    points = [replace(point, config={"pause": float(pause), "notes": out}) for point in POINTS]
    engine = pool(int(workers)) if int(workers) else serial()
    try:
        execute(points, EXPERIMENTS[experiment], out=Path(out), engine=engine, provenance=PROVENANCE)
    except Interrupted as interrupted:
        sys.exit(str(interrupted))


def patch_to_kill(name: str, call: int) -> None:
    original, count = getattr(os, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(os, name, counted)


def start(
    out: Path, workers: int = 0, experiment: str = "gaussian", pause: float = 0.01, deadly: str = ""
) -> subprocess.Popen[str]:
    arguments = [out, str(workers), experiment, str(pause), deadly]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments], text=True, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def complete_files(out: Path) -> list[Path]:
    return sorted((out / "runs").glob("*.jsonl.gz"))


def execute_here(points: list[Point], out: Path, run: Any = gaussian, **options: Any) -> Any:
    return execute(points, run, out=out, **{"engine": serial(), "provenance": PROVENANCE, **options})


def rows_in(out: Path, points: list[Point]) -> pd.DataFrame:
    return store.load(out / "runs", points)


def check_that_it_resumes(out: Path, points: list[Point], undisturbed: Path) -> int:
    """Check the law of a kill: what is there is complete, the rest is computed, all is as if undisturbed."""
    there = complete_files(out)
    for path in there:
        store.read_run(path)
    execution = execute_here(points, out)
    assert len(execution.reused) == len(there)
    assert len(execution.computed) == len(points) - len(there)
    assert execution.failed == ()
    assert execution.set_aside == ()
    execute_here(points, undisturbed)
    pd.testing.assert_frame_equal(rows_in(out, points), rows_in(undisturbed, points))
    assert not list((out / "runs").glob(".*.tmp"))
    return len(there)


@pytest.mark.parametrize(("after", "pause"), [(0, 0.0), (1, 0.02), (4, 0.005)])
def test_a_killed_process_loses_only_the_run_in_progress(tmp_path: Path, after: int, pause: float) -> None:
    process = start(tmp_path / "killed")
    wait_until(lambda: (tmp_path / "killed/runs").exists() and len(complete_files(tmp_path / "killed")) >= after)
    time.sleep(pause)
    process.kill()
    process.communicate()
    points = [replace(point, config={"pause": 0.01, "notes": str(tmp_path / "killed")}) for point in POINTS]
    assert after <= check_that_it_resumes(tmp_path / "killed", points, tmp_path / "undisturbed") < len(POINTS)


# Calls before the first run's file: one probe (file and directory are synchronised), so run k makes the calls
# 2k + 1 and 2k + 2 of fsync, and call k + 1 of replace.
@pytest.mark.parametrize(("deadly", "complete"), [("fsync 5", 1), ("fsync 6", 2), ("replace 4", 2)])
def test_a_kill_while_a_file_is_written(tmp_path: Path, deadly: str, complete: int) -> None:
    process = start(tmp_path / "killed", pause=0.0, deadly=deadly)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    points = [replace(point, config={"pause": 0.0, "notes": str(tmp_path / "killed")}) for point in POINTS]
    assert check_that_it_resumes(tmp_path / "killed", points, tmp_path / "undisturbed") == complete


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes are alive")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    out.mkdir()
    process = start(out, workers=2, experiment="noting_its_process", pause=0.03)
    wait_until(lambda: len(complete_files(out)) >= 2)
    process.kill()
    process.wait()
    workers = [int(path.name) for path in out.iterdir() if path.name.isdigit()]
    assert workers
    wait_until(lambda: not any(map(is_running, workers)), seconds=5.0)
    process.communicate()
    points = [replace(point, config={"pause": 0.03, "notes": str(out)}) for point in POINTS]
    assert 2 <= check_that_it_resumes(out, points, tmp_path / "undisturbed") < len(POINTS)


@pytest.mark.parametrize(
    ("moment", "pause"),
    [
        ("runs", 20.0),  # the directory is there, so workers start
        ("[0-9]*", 20.0),  # a worker has noted its process, so long runs are in progress
        ("runs/*.jsonl.gz", 0.3),  # a run is complete
    ],
)
def test_an_interrupt_stops_a_pool_at_once_and_says_how_to_resume(tmp_path: Path, moment: str, pause: float) -> None:
    process = start(tmp_path, workers=2, experiment="noting_its_process", pause=pause)
    wait_until(lambda: any(tmp_path.glob(moment)))
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    asked = time.monotonic()
    _, words = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5.0
    complete = len(complete_files(tmp_path))
    assert f"{complete} of {len(POINTS)} runs complete" in words
    assert "same command again" in words
    assert "Traceback" not in words
    assert all(store.read_run(path) for path in complete_files(tmp_path))


def test_an_interrupt_of_the_serial_engine(tmp_path: Path) -> None:
    def interrupted(point: Point) -> Iterator[Row]:
        if point.width == 32:
            raise KeyboardInterrupt
        yield from gaussian(point)

    execute_here(POINTS[:1], tmp_path)
    with pytest.raises(Interrupted) as caught:
        execute_here(POINTS, tmp_path, interrupted)
    assert (caught.value.complete, caught.value.total) == (2, len(POINTS))
    assert len(complete_files(tmp_path)) == 2


def test_pool_and_serial_give_the_same_rows(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    execute_here(
        POINTS, tmp_path / "pool", engine=pool(2), progress=lambda total, done, point: told.append((total, done))
    )
    execute_here(POINTS, tmp_path / "serial")
    pd.testing.assert_frame_equal(rows_in(tmp_path / "pool", POINTS), rows_in(tmp_path / "serial", POINTS))
    assert told == [(len(POINTS), done) for done in range(1, len(POINTS) + 1)]


def test_a_pool_shares_the_cores_out_and_leaves_the_environment_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    engine = pool(2, initialise=setting)
    execution = execute_here(POINTS[:1], tmp_path, telling_threads, engine=engine)
    assert execution.failed == ()
    assert dict(os.environ) == before
    share = max(1, count_cores() // 2)
    assert engine.threads == share
    assert set(rows_in(tmp_path, POINTS[:1])["value"]) == {float(share)}
    header = store.read_header(store.path_of(tmp_path / "runs", POINTS[0]))
    assert header["provenance"]["threads"] == share
    assert header["provenance"]["device"] == "cpu"


def test_workers_leave_interrupts_to_the_parent(tmp_path: Path) -> None:
    execute_here(POINTS[:1], tmp_path, telling_interrupts, engine=pool(1))
    assert list(rows_in(tmp_path, POINTS[:1])["value"]) == [1.0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_pool_begins_with_the_most_expensive_run(tmp_path: Path) -> None:
    order: list[int] = []

    def note(total: int, done: int, point: Point) -> None:
        order.append(point.width)

    points = [POINTS[i] for i in (2, 0, 3, 1)]
    execute_here(points, tmp_path, engine=pool(1, cost=cheap_when_wide), progress=note)
    assert order == [8, 16, 32, 64]
    assert sorted(points, key=by_size) == POINTS[:4]
    assert by_size(replace(POINTS[0], seeds=(0,))) < by_size(POINTS[0])


def cheap_when_wide(point: Point) -> float:
    return -point.width


def test_a_pool_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    points = [point_of(2**k, marker=str(tmp_path / "marker")) for k in range(3, 8)]
    execution = execute_here(points, tmp_path, dying, engine=pool(2))
    assert (tmp_path / "marker").exists()
    assert len(execution.computed) == len(points)
    assert execution.failed == ()
    (note,) = execution.notes
    assert "a worker died" in note
    assert "width 32" in note
    assert len(rows_in(tmp_path, points)) == 3 * len(points)


def test_a_run_that_always_kills_its_worker_ends_with_a_message_after_the_others(tmp_path: Path) -> None:
    points = [point_of(2**k) for k in range(3, 8)]
    with pytest.raises(WorkersDied, match=r"width 32.*4 of 5 runs are done") as caught:
        execute_here(points, tmp_path, dying, engine=pool(1))
    assert "fewer workers" in str(caught.value)
    assert len(complete_files(tmp_path)) == 4


@pytest.mark.parametrize("engine", [serial(), pool(1)], ids=["serial", "pool"])
def test_a_run_that_raises_is_recorded_and_the_others_go_on(tmp_path: Path, engine: Any) -> None:
    execution = execute_here(POINTS[:4], tmp_path, failing, engine=engine)
    ((point, message),) = execution.failed
    assert point == POINTS[2]
    assert message == "wrong at width 32"  # the traceback's last line
    assert len(execution.computed) == 3
    again = execute_here(POINTS[:4], tmp_path)
    assert (len(again.computed), len(again.reused)) == (1, 3)


@pytest.mark.parametrize("engine", [serial(), pool(1)], ids=["serial", "pool"])
def test_a_store_that_cannot_be_written_stops_everything(tmp_path: Path, engine: Any) -> None:
    with pytest.raises(StoreError, match="disk is full"):
        execute_here(POINTS, tmp_path, without_disk, engine=engine)
    assert complete_files(tmp_path) == []


def test_a_read_only_store_is_found_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute_here(POINTS[:2], tmp_path)
    rows = rows_in(tmp_path, POINTS[:2])
    computed = []

    def counted(point: Point) -> Iterator[Row]:
        computed.append(point)
        yield from gaussian(point)

    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match=r"read-only.*unharmed"):
        execute_here(POINTS, tmp_path, counted)
    assert computed == []
    # What is complete needs no writing.
    assert len(execute_here(POINTS[:2], tmp_path, counted).reused) == 2
    pd.testing.assert_frame_equal(rows_in(tmp_path, POINTS[:2]), rows)


def test_a_disk_that_fills_up_stops_the_runs_and_keeps_the_complete_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise, calls = os.fsync, 0

    def fill_up(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 7:  # two for the probe and two a run: the third run's file
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(StoreError, match="free some space"):
        execute_here(POINTS, tmp_path)
    monkeypatch.undo()
    assert check_that_it_resumes(tmp_path, POINTS, tmp_path / "undisturbed") == 2


def test_a_damaged_file_is_set_aside_and_computed_again(tmp_path: Path) -> None:
    execute_here(POINTS[:3], tmp_path)
    before = rows_in(tmp_path, POINTS[:3])
    path = store.path_of(tmp_path / "runs", POINTS[1])
    whole = path.read_bytes()
    lengths = range(0, len(whole), 97)
    for number, length in enumerate(lengths, start=1):
        path.write_bytes(whole[:length])
        execution = execute_here(POINTS[:3], tmp_path)
        assert execution.computed == (POINTS[1],)
        (moved,) = execution.set_aside
        assert moved.read_bytes() == whole[:length]
        assert str(moved) in execution.notes[0]
        assert len(list(moved.parent.iterdir())) == number
        pd.testing.assert_frame_equal(rows_in(tmp_path, POINTS[:3]), before)
    assert len(lengths) > 3


def test_force_computes_again_and_a_point_given_twice_runs_once(tmp_path: Path) -> None:
    assert len(execute_here(POINTS[:2] * 2, tmp_path).computed) == 2
    assert len(execute_here(POINTS[:2], tmp_path).reused) == 2
    forced = execute_here(POINTS[:2], tmp_path, force=True)
    assert (len(forced.computed), len(forced.reused)) == (2, 0)


def test_progress_counts_reused_runs_too(tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    execute_here(POINTS[:2], tmp_path)
    execute_here(POINTS[:4], tmp_path, progress=lambda total, done, point: told.append((total, done, point.width)))
    assert told == [(4, 1, 8), (4, 2, 16), (4, 3, 32), (4, 4, 64)]


def test_two_processes_at_the_same_points_both_end_well(tmp_path: Path) -> None:
    both = [start(tmp_path, pause=0.005) for _ in range(2)]
    for process in both:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
    points = [replace(point, config={"pause": 0.005, "notes": str(tmp_path)}) for point in POINTS]
    assert all(store.status(tmp_path / "runs", point) is Status.COMPLETE for point in points)
    assert len(list((tmp_path / "runs").iterdir())) == len(POINTS)


def test_a_pool_refuses_what_it_cannot_hand_over(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="top level of a module"):
        execute_here(POINTS, tmp_path, lambda point: gaussian(point), engine=pool(1))
    with pytest.raises(ValueError, match="at least one worker"):
        pool(0)


if __name__ == "__main__":
    # A shell starts what it runs in the background with interrupts ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:])
