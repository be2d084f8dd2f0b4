"""The command line as a user meets it: real runs in a temporary directory, bad input, resuming, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tpbench.bench.claim import Claim, Point, Row
from tpbench.bench.summary import read_summary
from tpbench.claims import CLAIMS
from tpbench.cli import app
from tpbench.data import _load as data_cache
from tpbench.parametrization import PARAMETRIZATIONS
from tpbench.parametrization.catalogue import CATALOGUE

TINY = ["--widths", "16,32,64", "--seeds", "8", "--workers", "1"]
Run = Callable[..., Result]


@pytest.fixture
def tpbench() -> Run:
    """``tpbench(*arguments)`` runs the command line in this process."""
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "scipy", "matplotlib", "seaborn")
    code = (
        "import sys; from typer.testing import CliRunner; from tpbench.cli import app; "
        "result = CliRunner().invoke(app, ['--help']); assert 'judge' in result.output; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_tells_every_claim(tpbench: Run) -> None:
    claims = json.loads(tpbench("list", "--json").stdout)
    assert [claim["name"] for claim in claims] == list(CLAIMS)
    for claim in claims:
        assert claim["name"]
        assert claim["statement"]
        assert claim["source"]
        assert set(claim["profiles"]) == {"smoke", "nightly", "full"}
        assert set(claim["parametrizations"]) <= set(CATALOGUE)
        for name, profile in claim["profiles"].items():
            sweep = CLAIMS[claim["name"]].sweeps[name]
            assert dict(zip(profile["widths"], profile["seeds"], strict=True)) == sweep.sizes("dense")
            assert {int(width): seeds for width, seeds in profile["lazy"].items()} == sweep.sizes("lazy")
    shown = tpbench("list").stdout
    assert all(claim["name"] in shown for claim in claims)


def test_main_path(tpbench: Run, tmp_path: Path) -> None:
    first = tpbench("run", "zero-output", *TINY, "--out", tmp_path, "--json")
    assert first.exit_code == 0, first.stderr
    records = json.loads(first.stdout)
    estimates = [record for record in records if record["record"] == "estimate"]
    assert {record["parametrization"] for record in estimates} == {"sp", "ntp", "mup", "mean-field"}
    needed = {
        "claim",
        "parametrization",
        "quantity",
        "layer",
        "step",
        "prediction",
        "estimate",
        "low",
        "high",
        "verdict",
    }
    assert all(needed <= set(record) for record in estimates)
    assert [record["claim"] for record in records if record.get("overall")] == ["zero-output"]
    page = tmp_path / "reports" / "smoke" / "index.html"
    assert "zero-output" in page.read_text()
    written = page.stat().st_mtime_ns
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.gz")}
    assert len(files) == 12

    again = tpbench("judge", "--out", tmp_path, "--json")
    assert json.loads(again.stdout) == records
    pictures = tpbench("plot", "zero-output", "--out", tmp_path).stdout.split()
    assert [Path(name).name for name in pictures] == ["zero-output-exponents.png"]
    assert Path(pictures[0]).read_bytes().startswith(b"\x89PNG")
    assert tpbench("report", "--out", tmp_path).stdout.strip() == str(page)
    assert page.stat().st_mtime_ns > written

    tpbench("run", "zero-output", *TINY, "--out", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "complete runs are not computed again"
    tpbench("run", "zero-output", *TINY, "--out", tmp_path, "--force")
    assert all(path.stat().st_mtime_ns > before for path, before in files.items())
    forced = tpbench("judge", "--out", tmp_path, "--json")
    assert json.loads(forced.stdout)[1:] == records[1:], "the same seeds give the same numbers"


@pytest.fixture
def lazy_claim(monkeypatch: pytest.MonkeyPatch) -> Claim:
    """``zero-output`` with lazy widths."""
    honest = CLAIMS["zero-output"]
    sweeps = {name: replace(sweep, lazy={2**14: 4, 2**20: 2}) for name, sweep in honest.sweeps.items()}
    claim = replace(honest, sweeps=sweeps)
    monkeypatch.setitem(CLAIMS, "zero-output", claim)  # type: ignore[arg-type]
    return claim


def test_list_tells_lazy_widths(tpbench: Run, lazy_claim: Claim) -> None:
    [found] = [claim for claim in json.loads(tpbench("list", "--json").stdout) if claim["name"] == lazy_claim.name]
    for name, sweep in lazy_claim.sweeps.items():
        expected = {"widths": list(sweep.widths), "seeds": list(sweep.seeds), "lazy": {"16384": 4, "1048576": 2}}
        assert found["profiles"][name] == expected


@pytest.mark.parametrize("weights", ["dense", "lazy"])
def test_weights_are_chosen_and_remembered(
    tpbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy_claim: Claim, weights: str
) -> None:
    """The experiment is replaced: only which networks are asked for matters here."""
    asked = []

    def instead(point: Point) -> list[Row]:
        asked.append((point.width, point.config["weights"]))
        value = point.width ** (-0.5 if point.parametrization == "mup" else 0.0)
        return [Row("output", value * (1 + seed % 7), seed, 0, point.config["depth"] + 1, 0) for seed in point.seeds]

    monkeypatch.setattr("tpbench.claims.experiments.training.run", instead)
    done = tpbench("run", lazy_claim.name, *TINY, "--weights", weights, "--out", tmp_path)
    assert done.exit_code in (0, 3), done.stderr
    assert set(asked) == {(width, weights) for width in (16, 32, 64)}
    session = tmp_path / "last-run.json"
    assert json.loads(session.read_text())["selection"]["weights"] == weights
    assert tpbench("judge", "--out", tmp_path).exit_code == done.exit_code
    old = json.loads(session.read_text())
    del old["selection"]["weights"]
    session.write_text(json.dumps(old))
    again = tpbench("judge", "--out", tmp_path)
    assert again.exit_code == 2
    assert "run `tpbench run` again" in again.stderr


def test_lazy_weights_of_a_claim_without_them(tpbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = {name: replace(sweep, lazy={}) for name, sweep in CLAIMS["cost"].sweeps.items()}
    monkeypatch.setitem(CLAIMS, "cost", replace(CLAIMS["cost"], sweeps=dense))  # type: ignore[arg-type]
    done = tpbench("run", "cost", "--weights", "lazy", "--out", tmp_path)
    assert done.exit_code == 2
    assert "no lazy widths at the profile 'smoke' in cost" in done.stderr
    assert not list(tmp_path.iterdir())


def test_pool_and_serial_agree(tpbench: Run, tmp_path: Path) -> None:
    for workers in (1, 2):
        done = tpbench(
            "run",
            "zero-output",
            "--widths",
            "16,32,64",
            "--seeds",
            "4",
            "--workers",
            workers,
            "--out",
            tmp_path / str(workers),
        )
        assert done.exit_code == 0, done.stderr
    one, two = (tpbench("judge", "--out", tmp_path / str(workers), "--json") for workers in (1, 2))
    assert json.loads(one.stdout)[1:] == json.loads(two.stdout)[1:]


def test_damaged_run_is_set_aside_and_computed_again(tpbench: Run, tmp_path: Path) -> None:
    tpbench("run", "zero-output", *TINY, "--out", tmp_path)
    [path, *_] = sorted((tmp_path / "runs").glob("*.gz"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert tpbench("judge", "--out", tmp_path).exit_code == 2
    done = tpbench("run", "zero-output", *TINY, "--out", tmp_path)
    assert done.exit_code == 0
    assert "set-aside" in done.stderr
    assert len(list((tmp_path / "runs" / "set-aside").iterdir())) == 1
    assert tpbench("judge", "--out", tmp_path).exit_code == 0


def test_planted_fault_is_not_supported(tpbench: Run, tmp_path: Path) -> None:
    sizes = ["--widths", "32,64,128", "--seeds", "64", "--workers", "1"]
    done = tpbench("run", "zero-output", "--planted", *sizes, "--out", tmp_path, "--json")
    assert done.exit_code == 0
    verdicts = {r["claim"]: r["verdict"] for r in json.loads(done.stdout) if r.get("overall")}
    assert verdicts == {"zero-output+forgotten-root": "refuted"}
    assert (tmp_path / "reports" / "smoke-planted" / "index.html").exists()


def test_refuted_claim_has_status_3(tpbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = CLAIMS["zero-output"]
    opposite = replace(
        honest, predict=lambda c: tuple(replace(p, predicted=p.rival, rival=p.predicted) for p in honest.predict(c))
    )
    monkeypatch.setitem(CLAIMS, "zero-output", opposite)  # type: ignore[arg-type]
    sizes = ["--widths", "32,64,128", "--seeds", "128", "--workers", "1"]
    done = tpbench("run", "zero-output", "--parametrization", "mup", *sizes, "--out", tmp_path)
    assert done.exit_code == 3
    assert "refuted" in done.stdout
    assert tpbench("judge", "--out", tmp_path).exit_code == 3


def test_compare_finds_a_planted_regression(tpbench: Run, tmp_path: Path) -> None:
    tpbench("run", "zero-output", *TINY, "--out", tmp_path)
    before = tmp_path / "reports" / "smoke"
    same = tpbench("compare", before, before)
    assert same.exit_code == 0
    records = read_summary(before / "summary.json")
    worse = [dict(record) for record in records]
    for record in worse:
        if record["record"] == "estimate":
            record.update(estimate=5.0, low=4.9, high=5.1, verdict="refuted")
    (tmp_path / "worse.json").write_text(json.dumps(worse))
    changed = tpbench("compare", before / "summary.json", tmp_path / "worse.json", "--json")
    assert changed.exit_code == 3
    assert json.loads(changed.stdout)["regressed"] is True


def test_own_table(tpbench: Run, tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    roles = PARAMETRIZATIONS["mup"].as_config()
    sections = [
        f"[{role}]\n" + "".join(f'{k} = "{v}"\n' for k, v in roles[role].items())
        for role in ("input", "hidden", "output")
    ]
    table.write_text('name = "mine"\n' + "\n".join(sections))
    assert tomllib.loads(table.read_text())["hidden"]["b"] == "1/2"
    done = tpbench("run", "zero-output", "ntk-dynamics", "--parametrization", table, *TINY, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    records = json.loads(done.stdout)
    assert {r["parametrization"] for r in records if r["record"] == "estimate"} == {"mine"}
    [note] = [r["note"] for r in records if r.get("overall") and r["claim"] == "ntk-dynamics"]
    assert "does not apply to mine" in note


BAD = {
    "claim": (["run", "zero-outpt"], "did you mean 'zero-output'"),
    "profile": (["run", "--profile", "smok"], "did you mean 'smoke'"),
    "parametrization": (["run", "--parametrization", "mupp"], "did you mean 'mup'"),
    "data set": (["run", "--dataset", "digit"], "did you mean 'digits'"),
    "weights": (["run", "--weights", "lasy"], "did you mean 'lazy'"),
    "device": (["run", "--device", "tpu"], "unknown device 'tpu'"),
    "no file": (["run", "--parametrization", "nowhere.toml"], "no such parametrization file"),
    "zero width": (["run", "--widths", "0,64,128"], "a width is a whole number from 1, got 0"),
    "negative width": (["run", "--widths", "-8,64,128"], "got -8"),
    "no number": (["run", "--widths", "64,wide"], "whole numbers"),
    "two widths": (["run", "--widths", "64,128"], "at least 3 different widths, got 2"),
    "one seed": (["run", "--seeds", "1"], "at least 2 seeds"),
    "workers": (["run", "--workers", "0"], "--workers is at least 1"),
    "no run": (["judge"], "there has been no run here"),
    "no summary": (["compare", "a.json", "b.json"], "a.json"),
    "option": (["run", "--nonsense"], "--nonsense"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=list(BAD))
def test_bad_input_is_one_clear_sentence(
    tpbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tpbench(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/runs/*")), "nothing was computed"


def test_table_with_a_missing_layer(tpbench: Run, tmp_path: Path) -> None:
    table = tmp_path / "half.toml"
    table.write_text('name = "half"\n[input]\na = 0\nb = 0\nc = 0\n')
    done = tpbench("run", "zero-output", "--parametrization", table, "--out", tmp_path)
    assert done.exit_code == 2
    assert "'output' is missing" in done.stderr


def test_tables_of_one_name_and_false_names(tpbench: Run, tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    ntp = "".join(
        f"[{role}]\n" + "".join(f'{k} = "{v}"\n' for k, v in PARAMETRIZATIONS["ntp"].as_config()[role].items())
        for role in ("input", "hidden", "output")
    )
    for name, says in (("mup", "belongs to another table"), ("my $x^$", "letters, digits")):
        table.write_text(f'name = "{name}"\n{ntp}')
        done = tpbench("run", "zero-output", "--parametrization", table, "--out", tmp_path)
        assert done.exit_code == 2
        assert says in done.stderr
    table.write_text(f'name = "mine"\n{ntp}')
    done = tpbench("run", "--parametrization", table, "--parametrization", table, "--out", tmp_path)
    assert done.exit_code == 2
    assert "one name" in done.stderr


def test_a_run_of_nothing_leaves_the_last_one_alone(tpbench: Run, tmp_path: Path) -> None:
    tpbench("run", "zero-output", *TINY, "--out", tmp_path)
    before = (tmp_path / "last-run.json").read_bytes()
    done = tpbench("run", "sp-blowup", "--parametrization", "mup", "--out", tmp_path)
    assert done.exit_code == 2
    assert "nothing to run" in done.stderr
    assert (tmp_path / "last-run.json").read_bytes() == before


def test_judge_wants_a_directory(tpbench: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tpbench("judge", "--out", tmp_path / "file")
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr


def test_missing_data_are_told_before_training(tpbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_FASHION_MNIST", str(tmp_path / "nowhere"))
    data_cache.cache_clear()
    done = tpbench("run", "zero-output", *TINY, "--dataset", "fashion-mnist", "--out", tmp_path)
    data_cache.cache_clear()
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_unwritable_results(tpbench: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tpbench("run", "zero-output", *TINY, "--out", tmp_path / "file")
    assert done.exit_code == 2
    assert "error:" in done.stderr
