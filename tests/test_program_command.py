"""``tpbench program``: what it prints and judges, planted faults, pictures, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tpbench import program_study
from tpbench.bench.claim import Verdict
from tpbench.cli import app
from tpbench.program_command import shortened
from tpbench.program_file import read_program
from tpbench.program_picture import drawn_outputs, picture
from tpbench.program_study import Request, output_of, slowest_powers, study, with_squares
from tpbench.programs import Program, sample
from tpbench.programs.infinite import Limit, UnsuitedError, Value
from tpbench.programs.instructions import GaussianMatrix

HEAD = """\
from fractions import Fraction
import torch
from tpbench.programs import apply, constant, gaussian, inner, matrix, moment
from tpbench.programs import program as made
W, x = matrix("W", variance=Fraction(1, 2)), gaussian("x")
"""
CUBIC = HEAD + "y = (W + W.T) @ x\nprogram = made(y, m2=inner(y, y), m4=moment(y**4), c=constant(3))\n"
TANH = HEAD + "y = W @ x\nz = W.T @ apply(torch.tanh, y)\nprogram = lambda: made(a=inner(x, z), b=moment(z * z))\n"
QUICK = ("--widths", "32,64,128,256,512", "--seeds", "200", "--device", "cpu")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def to_file(text: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return to_file


Write = Callable[[str], Path]


def ask(file: Path | str, *words: str) -> Any:
    return CliRunner().invoke(app, ["program", str(file), *words])


def as_json(file: Path | str, *words: str, status: int = 0) -> dict[str, Any]:
    result = ask(file, "--json", *QUICK, *words)
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_polynomial_programs_print_fractions(write: Write) -> None:
    found = as_json(write(CUBIC))
    assert found["method"] == "exact"
    assert {name: row["exact"] for name, row in found["outputs"].items()} == {
        "⟨x1²⟩": "1",
        "m2": "1",
        "m4": "3",
        "c": "3",
    }
    assert found["verdict"] == "supported"
    kinds = {(row["output"], row["kind"]) for row in found["estimates"]}
    assert {("m2", "spread"), ("m2", "value"), ("m4", "spread"), ("m4", "value"), ("c", "value")} <= kinds
    assert ("c", "spread") not in kinds, "a constant has no spread"
    values = {row["output"]: row for row in found["estimates"] if row["kind"] == "value"}
    assert values["m4"]["low"] < 3 < values["m4"]["high"]
    assert values["m2"]["rival"] == 0, "W and Wᵀ independent give the same here, so the rival is another"


def test_the_rival_forgets_the_transpose(write: Write) -> None:
    found = as_json(write(TANH))
    [a] = [row for row in found["estimates"] if row["output"] == "a" and row["kind"] == "value"]
    assert a["rival"] == 0
    assert a["prediction"] > 0.1
    assert found["method"] in ("quadrature", "sobol")
    assert "exact" in found["refused"]
    assert a["verdict"] == "supported"


@pytest.mark.parametrize("text", [CUBIC, TANH], ids=["exact", "tanh"])
def test_samples_of_another_variance_are_refuted(write: Write, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The planted fault: matrices are drawn with a tenth more variance than the program says."""

    def faulty(program: Program, *arguments: Any, **options: Any) -> Any:
        changed = tuple(
            replace(b, variance=b.variance * Fraction(11, 10)) if isinstance(b, GaussianMatrix) else b
            for b in program.bindings
        )
        return sample(Program(changed, program.outputs), *arguments, **options)

    monkeypatch.setattr(program_study, "sample", faulty)
    found = as_json(write(text), status=3)
    assert found["verdict"] == "refuted"
    refuted = {(row["output"], row["kind"]) for row in found["estimates"] if row["verdict"] == "refuted"}
    kinds = {kind for _, kind in refuted}
    assert "value" in kinds
    assert "spread" not in kinds, "that falls as it should"


def test_a_spread_that_does_not_fall_is_refuted(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def frozen(program: Program, width: int, *arguments: Any, **options: Any) -> Any:
        return sample(program, 32, *arguments, **options)

    monkeypatch.setattr(program_study, "sample", frozen)
    found = as_json(write(CUBIC), status=3)
    assert ("m2", "refuted") in {(r["output"], r["verdict"]) for r in found["estimates"] if r["kind"] == "spread"}


def test_an_uncertain_limit_judges_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same planted fault, but the limit is known to a few tenths only: nothing can be said."""

    def vague(program: Program, **options: Any) -> Limit:
        values = {name: Value(1.3 if name != "c" else 3.0, 0.5) for name in program.outputs}
        return Limit(program, "sobol", values, solved=None)  # type: ignore[arg-type]

    monkeypatch.setattr(program_study, "limit", vague)
    found = as_json(write(CUBIC.replace(", m4=moment(y**4)", "")))
    assert found["verdict"] == "inconclusive"
    assert {row["verdict"] for row in found["estimates"] if row["kind"] == "value"} == {"inconclusive"}
    said = ask(write(HEAD + "program = made(m=inner(W @ x, x))"), *QUICK, "--seeds", "2000").stdout
    assert "verdict: inconclusive (more points or replicates may settle it)" in said


def test_a_bias_is_judged_where_it_is_seen(write: Write) -> None:
    """⟨x⟩² has the mean 1/n and the spread √2/n: its bias is seen at every width."""
    found = as_json(write(HEAD + "program = made(m=moment(x) ** 2)"), "--seeds", "4000")
    [bias] = [row for row in found["estimates"] if row["kind"] == "bias"]
    assert bias["low"] < -1 < bias["high"]
    assert bias["verdict"] == "supported"


def test_slow_constants_are_their_own_rate(write: Write) -> None:
    found = as_json(write(HEAD + "program = made(m=constant(1, power=Fraction(-1, 2)) + 2)"))
    [bias] = [row for row in found["estimates"] if row["kind"] == "bias"]
    assert bias["prediction"] == -0.5
    assert found["verdict"] == "supported"


def test_slow_constants_are_the_rate_of_what_depends_on_them(write: Write) -> None:
    text = (
        HEAD
        + "k = constant(1, power=Fraction(-1, 2))\nm = moment(x)\nslow = moment(torch.tanh, m) + k\n"
        + "program = made(free=inner(W @ x, W @ x), slow=slow, later=moment((W @ (x * slow)) ** 2), late=k * k * m)"
    )
    _, made = read_program(str(write(text)))
    powers = slowest_powers(made)
    assert {name: powers[name] for name in made.outputs} == {"free": -1, "slow": -0.5, "later": -0.5, "late": -0.5}
    found = as_json(write(HEAD + "k = constant(1, power=Fraction(-1, 2))\nprogram = made(a=moment(x) ** 2, b=k + 1)"))
    bounds = {row["output"]: row["prediction"] for row in found["estimates"] if row["kind"] == "bias"}
    assert bounds == {"a": -1, "b": -0.5}


LONG = HEAD + "for _ in range(40):\n    x = apply(torch.tanh, W @ x)\nprogram = made(m=inner(x, x))\n"
FEW = ("--widths", "8,16,32", "--seeds", "3", "--device", "cpu", "--points", "16,32", "--replicates", "4")


def test_long_programs_are_shortened(write: Write) -> None:
    """40 layers are 83 bindings, 85 lines."""
    file = write(LONG)
    short, whole = (ask(file, *FEW, *words).stdout for words in ((), ("--program",)))
    assert "… 40 more lines: --program prints all" in short
    assert short.index("program in NETSOR") < short.index("… 40") < short.index("output m") < short.index("limit (")
    assert "g20 = W x19" not in short
    assert all(f"g{i} = W x{i - 1}" in whole for i in range(2, 41))
    assert "more lines" not in whole
    found = json.loads(ask(file, "--json", *FEW).stdout)
    assert len(found["program"].splitlines()) == 85


def test_shortened_texts_lose_what_is_counted() -> None:
    for count in (1, 60, 61, 500):
        lines = [str(i) for i in range(count)]
        found = shortened("\n".join(lines)).splitlines()
        if count <= 60:
            assert found == lines
        else:
            [mark] = [line for line in found if line.startswith("…")]
            assert int(mark.split()[1]) + len(found) - 1 == count


def test_a_graph_that_cannot_be_drawn_is_refused_first(write: Write, tmp_path: Path) -> None:
    result = ask(write(LONG), *FEW, "--graph", str(tmp_path / "graph.png"))
    assert result.exit_code == 2
    assert "more than 80 cannot be read" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "graph.png").exists()


def test_notes_and_zeros_are_plain(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(program: Program, **options: Any) -> Limit:
        why = "exact: 'x1' is no polynomial in exact numbers ('tanh': TypeError: Multiple dispatch failed for "
        why += "'torch.tanh'; all __torch_function__ handlers returned NotImplemented:)"
        return Limit(program, "quadrature", {"m": Value(-2.16e-17, 1e-15)}, None, {"exact": why})  # type: ignore[arg-type]

    monkeypatch.setattr(program_study, "limit", rounded)
    result = ask(write(HEAD + "program = made(m=moment(apply(torch.tanh, x)))"), *QUICK)
    assert "note: not by exact: 'x1' is no polynomial in exact numbers ('tanh')\n" in result.stdout
    for word in ("e-17", "__torch_function__", "dispatch"):
        assert word not in result.stdout
    assert "│ 0 ± " in result.stdout
    found = as_json(write(HEAD + "program = made(m=moment(apply(torch.tanh, x)))"))
    assert found["outputs"]["m"]["limit"] == -2.16e-17, "JSON has what was computed"


def test_pictures_of_many_outputs_say_what_they_leave_out(write: Write) -> None:
    outputs = ", ".join(f"o{i}=moment(x**2) * {i}" for i in range(1, 6))
    _, made = read_program(str(write(HEAD + f"program = made({outputs})")))
    found = study("mine", made, Request((16, 32, 64, 128, 256), seeds=50))
    drawn = picture(found)
    titles = [axes.get_title(loc="left") for axes in drawn.axes]
    assert titles == [*(f"sampled: error of o{i}" for i in (1, 2, 3)), "o1", "o2", "o3"]
    assert "not drawn: o4, o5." in drawn.get_suptitle().replace("\n", " ")
    judged = found.result.judged
    worse = [replace(r, verdict=Verdict.REFUTED) if output_of(r.estimate.prediction) == "o5" else r for r in judged]
    assert drawn_outputs(worse)[0] == "o5", "what is refuted is drawn first"


def test_what_has_no_limit_says_why(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: Program, **options: Any) -> Limit:
        raise UnsuitedError("exact: 'x1' is no polynomial; sobol: 'x1' is heavy-tailed")

    monkeypatch.setattr(program_study, "limit", refuse)
    result = ask(write(CUBIC), *QUICK)
    assert result.exit_code == 0
    assert "'x1' is heavy-tailed" in result.stdout
    assert "verdict: inconclusive" in result.stdout
    assert "unknown" in result.stdout


def test_table_and_pictures(write: Write, tmp_path: Path) -> None:
    plot, graph = tmp_path / "plot.png", tmp_path / "graph.svg"
    result = ask(
        write(CUBIC.replace(", m4=moment(y**4), c=constant(3)", "")), *QUICK, "--plot", str(plot), "--graph", str(graph)
    )
    assert result.exit_code == 0, result.output
    for word in ("program in NETSOR⊤", "g2 = Wᵀ x", "limit (exact)", "n = 512", "✓ supported", "verdict: supported"):
        assert word in result.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in graph.read_bytes()


def test_dense_and_lazy_widths_agree(write: Write) -> None:
    dense, lazy = (as_json(write(TANH), "--weights", each) for each in ("dense", "lazy"))
    assert set(dense["weights"].values()) == {"dense"}
    for name in ("a", "b"):
        one, other = (found["outputs"][name] for found in (dense, lazy))
        for i in range(5):
            error = (one["standard_error"][i] ** 2 + other["standard_error"][i] ** 2) ** 0.5
            assert abs(one["mean"][i] - other["mean"][i]) < 4.5 * error


def test_vectors_are_asked_for_by_their_squares(write: Write) -> None:
    _, made = read_program(str(write(CUBIC)))
    asked = with_squares(made)
    assert asked.outputs == ("⟨x1²⟩", "m2", "m4", "c")
    again = with_squares(Program(asked.bindings, ("x1",)))
    assert again.outputs == ("⟨x1²⟩′",), "a name that is taken"


def test_seeds_in_parts_are_the_same_seeds(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = read_program(str(write(CUBIC)))
    request = Request((16, 32, 64), seeds=5, weights="dense")
    whole = study("mine", made, request)
    monkeypatch.setattr(program_study, "NUMBERS_AT_ONCE", 1)
    parts = study("mine", made, request)
    for width, values in whole.values.items():
        for name, value in values.items():
            assert parts.values[width][name] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        ("x = 1", "", "holds no 'program'"),
        ("from tpbench.programs import program", "", "holds no 'program'"),
        (HEAD + "mine = made(x)", ":mina", "did you mean 'mine'"),
        ("program = 3", "", "is a int, not a program"),
        ("program = lambda: 3", "", "is a int, not a program"),
        ("def program(): raise KeyError('k')", "", "KeyError"),
        ("def program(n): return n", "", "missing 1 required positional argument"),
        ("1 / 0", "", "ZeroDivisionError"),
        (HEAD + "program = made(apply(lambda v: v - v.mean(), x))", "", "mixes coordinates"),
    ],
)
def test_files_without_a_program(write: Write, text: str, suffix: str, says: str) -> None:
    result = ask(f"{write(text)}{suffix}", *QUICK)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--widths", "many"), "--widths are whole numbers"),
        (("--widths", "64,64,128"), "once each"),
        (("--seeds", "1"), "at least 2 seeds"),
        (("--weights", "thin"), "dense, lazy or auto"),
        (("--method", "guess"), "methods are auto, exact"),
        (("--points", "x"), "--points are whole numbers"),
        (("--points", "1024,1000"), "powers of two up to 2^30, got 1000: take 1024"),
        (("--points", str(2**31)), "powers of two up to 2^30"),
        (("--replicates", "1"), "--replicates is at least 2"),
        (("--device", "tpu"), "unknown device"),
        (("--plot", "a.gif"), "--plot writes .png"),
        (("--graph", "a"), "--graph writes .png"),
    ],
)
def test_options_that_cannot_be(write: Write, words: tuple[str, ...], says: str) -> None:
    result = ask(write(CUBIC), *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == "", "it is refused before anything is printed"


def test_two_widths_have_no_verdict(write: Write) -> None:
    result = ask(write(CUBIC), "--widths", "16,32", "--seeds", "4")
    assert result.exit_code == 0
    assert "verdict: inconclusive (more widths or seeds may settle it)" in result.stdout
    assert "3 are needed" in result.stdout


def test_widths_that_a_ratio_does_not_divide(write: Write) -> None:
    text = (
        HEAD
        + "from tpbench.programs import Width\nprogram = made(moment(gaussian('y', width=Width('m', Fraction(1, 3)))))"
    )
    result = ask(write(text), "--widths", "64")
    assert result.exit_code == 2
    assert "take a multiple of 3" in result.stderr
    assert result.stdout == ""


def test_names_in_brackets_are_no_markup(write: Write) -> None:
    """Traced programs have outputs like f[0]; a terminal's markup must not eat them."""
    result = ask(write(HEAD + "program = made(moment(x, name='loss[bold]'))"), "--widths", "8,16,32", "--seeds", "4")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("loss[bold]") >= 4


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in ask(tmp_path / "none.py").stderr
    assert "FILE.py" in ask("numpy").stderr


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from tpbench.cli import app; import typer.testing as t; "
        "r = t.CliRunner().invoke(app, ['program', '--help']); assert r.exit_code == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


HONEST = {
    "rectangular": "R = matrix('R', rows=Width('m', Fraction(1, 2)))\n"
    "program = made(moment((R.T @ apply(torch.tanh, R @ x)) * x))",
    "kinks": "y = W @ x\nprogram = made(a=inner(apply(torch.sign, y), y), b=moment((W.T @ apply(torch.relu, y)) ** 2))",
    "normalised": "h = apply(torch.relu, W @ x)\n"
    "program = made(moment(apply(torch.tanh, (h - moment(h)) / moment(h * h))))",
    "degenerate": "program = made(moment(x) ** 2)",
    "heavy tails": "program = made(moment(x**8))",
}


@pytest.mark.parametrize("text", HONEST.values(), ids=list(HONEST))
def test_honest_programs_are_not_refuted(write: Write, text: str) -> None:
    head = HEAD + "from tpbench.programs import Width\n"
    _, made = read_program(str(write(head + text)))
    found = study("honest", made, Request((32, 64, 128, 256, 512), seeds=100))
    assert found.limit is not None
    assert found.verdict != "refuted"
    assert all(row.verdict != "refuted" for row in found.result.judged)
