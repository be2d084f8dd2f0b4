"""The command line. Every import that takes time happens inside the command that needs it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.check.command import check_command
from tpbench.data_command import data_app
from tpbench.exit import REFUTED, bad_input
from tpbench.limit_command import limit_command
from tpbench.predict_command import predict_command
from tpbench.program_command import program_command
from tpbench.word2vec.command import word2vec_command

if TYPE_CHECKING:
    from tpbench.bench.claim import ClaimResult
    from tpbench.bench.jobs import Job
    from tpbench.bench.sweep import Selection
    from tpbench.pipeline import Judgement

app = typer.Typer(
    help="Validate Tensor Programs theory against finite networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
SESSION = "last-run.json"

Claims = Annotated[list[str] | None, typer.Argument(help="Claims to take; all of them by default.", metavar="[CLAIM]…")]
Out = Annotated[Path, typer.Option("--out", help="Directory of runs, reports and pictures.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command("list")
def list_claims(as_json: Json = False) -> None:
    """List the claims with what they state."""
    from tpbench.claims import CLAIMS

    if as_json:
        print(json.dumps([_described(claim) for claim in CLAIMS.values()], indent=1, ensure_ascii=False))
        return
    from tpbench.console import claims_table, stdout

    stdout().print(claims_table(CLAIMS.values()))


def _described(claim: Any) -> dict[str, Any]:
    return {
        "name": claim.name,
        "statement": claim.statement,
        "source": claim.source,
        "rival": claim.rival,
        "parametrizations": list(claim.sweeps["nightly"].parametrizations),
        "faults": {fault.name: fault.description for fault in claim.faults},
        "profiles": {
            name: {"widths": list(sweep.widths), "seeds": list(sweep.seeds), "lazy": dict(sweep.lazy)}
            for name, sweep in claim.sweeps.items()
        },
    }


@app.command()
def run(
    claims: Claims = None,
    profile: Annotated[str, typer.Option(help="smoke (90 s), nightly (30 min) or full (GPU).")] = "smoke",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    parametrization: Annotated[
        list[str] | None, typer.Option(help="A name, or a TOML file with an abc table; may be given again.")
    ] = None,
    widths: Annotated[str, typer.Option(help="Widths instead of the profile's, such as 64,128,256.")] = "",
    weights: Annotated[
        str | None, typer.Option(help="dense or lazy widths only; with --widths, how those are built (dense).")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds at every width instead of the profile's.")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, fashion-mnist or gaussian, instead of digits.")] = None,
    out: Out = Path("results"),
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default, one on CUDA.")] = None,
    planted: Annotated[bool, typer.Option("--planted", help="Plant the faults; none may be supported.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is complete.")] = False,
    as_json: Json = False,
) -> None:
    """Train the networks that the claims need, judge them and write the report."""
    from tpbench.bench.provenance import count_cores
    from tpbench.claims.experiments.threads import resolve_device
    from tpbench.console import progress_bars
    from tpbench.pipeline import check_corpora, compute, keep_their_data, plan, select

    with bad_input():
        where = resolve_device(device)
        selection = select(
            claims or (),
            profile=profile,
            device=where,
            parametrizations=parametrization or (),
            widths=_numbers(widths),
            seeds=seeds,
            dataset=dataset,
            planted=planted,
            weights=weights,
        )
        jobs = plan(selection)
        check_corpora(jobs)
        for name in keep_their_data(jobs, selection):
            print(f"note: {name} keeps its own data; --dataset does not change them", file=sys.stderr)
        processes = workers if workers is not None else (1 if where == "cuda" else count_cores())
        if processes < 1:
            raise ValueError(f"--workers is at least 1, got {processes}")
        begun = time.monotonic()
        with progress_bars() as bars:
            executions = compute(jobs, out, workers=processes, force=force, progress=bars)
        seconds = time.monotonic() - begun
        for execution in executions:
            for note in execution.notes:
                print(f"note: {note}", file=sys.stderr)
        failed = [failure for execution in executions for failure in execution.failed]
        if failed:
            reasons = "\n".join(f"  {why}" for why in dict.fromkeys(why for _, why in failed))
            raise ValueError(f"{len(failed)} runs failed, the others are kept:\n{reasons}")
        _save_session(out, selection, seconds)
        _conclude(jobs, selection, out, as_json=as_json)


@app.command()
def judge(claims: Claims = None, out: Out = Path("results"), as_json: Json = False) -> None:
    """Judge the last run again, every estimate in a row."""
    from tpbench.console import estimates_table, stdout

    with bad_input():
        jobs, selection, seconds = _last(out, claims)
        judgement = _judged(jobs, selection, out, seconds)
        if as_json:
            _print_summary(judgement)
        else:
            for result in judgement.results:
                stdout().print(estimates_table(result))
            _print_verdicts(judgement)
        raise typer.Exit(_status(judgement.results, selection))


@app.command()
def plot(claims: Claims = None, out: Out = Path("results")) -> None:
    """Draw the pictures of the last run again."""
    from tpbench.pipeline import folder, write_pictures

    with bad_input():
        jobs, selection, seconds = _last(out, claims)
        judgement = _judged(jobs, selection, out, seconds, pictures=True)
        for path in write_pictures(judgement, folder(selection, out)):
            print(path)


@app.command()
def report(out: Out = Path("results")) -> None:
    """Write the HTML report of the last run again and print where it lies."""
    from tpbench.pipeline import write_report_of

    with bad_input():
        jobs, selection, seconds = _last(out, None)
        print(write_report_of(_judged(jobs, selection, out, seconds, pictures=True), selection, out))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Summary of the earlier run, such as results/nightly.json.")],
    b: Annotated[Path, typer.Argument(help="Summary of the later run.")],
    as_json: Json = False,
) -> None:
    """Say what changed between two runs; exit status 3 when something regressed."""
    from tpbench.bench.compare import as_json as json_of
    from tpbench.bench.compare import as_text
    from tpbench.bench.compare import compare as compare_summaries
    from tpbench.bench.summary import read_summary

    with bad_input():
        comparison = compare_summaries(read_summary(_summary_in(a)), read_summary(_summary_in(b)))
        print(json.dumps(json_of(comparison), indent=1) if as_json else as_text(comparison))
        raise typer.Exit(REFUTED if comparison.regressed else 0)


def _summary_in(path: Path) -> Path:
    """Return the summary that a path means: a file, a report's directory, or the last run under an ``--out``."""
    if not path.is_dir() or (path / "summary.json").exists():
        return path if not path.is_dir() else path / "summary.json"
    from tpbench.pipeline import folder

    return folder(_last(path, None)[1], path) / "summary.json"


app.command("check")(check_command)
app.command("predict")(predict_command)
app.command("limit")(limit_command)
app.command("program")(program_command)
app.command("word2vec")(word2vec_command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; Ctrl-C ends it with status 130 and a word on how to go on."""
    app()


# ---------------------------------------------------------------------------------------------------------------


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"--widths are whole numbers with commas between, such as 64,128,256; got {text!r}") from error


def _save_session(out: Path, selection: Selection, seconds: float) -> None:
    from tpbench.bench.atomic import write_atomically

    text = json.dumps({"selection": selection.as_config(), "wall_seconds": seconds}, indent=1)
    write_atomically(out / SESSION, text.encode())


def _last(out: Path, claims: list[str] | None) -> tuple[list[Job], Selection, float]:
    """Return the jobs of the last run under ``out``, or those of some claims of it."""
    from tpbench.bench.sweep import Selection
    from tpbench.claims import claim
    from tpbench.pipeline import plan

    path = out / SESSION
    try:
        session = json.loads(path.read_text())
        selection, seconds = Selection.from_config(session["selection"]), float(session["wall_seconds"])
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there has been no run here; start with `tpbench run --out {out}`") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; give --out the directory of a run") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); run `tpbench run --out {out}` again") from error
    wanted = {claim(name).name for name in claims or ()}
    jobs = [job for job in plan(selection) if not wanted or job.claim.name.partition("+")[0] in wanted]
    if not jobs:
        raise ValueError(f"the last run under {out} was of {', '.join(selection.claims)}, not of {', '.join(wanted)}")
    return jobs, selection, seconds


def _judged(jobs: list[Job], selection: Selection, out: Path, seconds: float, *, pictures: bool = False) -> Judgement:
    from tpbench.pipeline import judge_all

    return judge_all(jobs, selection, out, seconds, pictures=pictures)


def _conclude(jobs: list[Job], selection: Selection, out: Path, *, as_json: bool) -> None:
    from tpbench.console import status_line
    from tpbench.pipeline import write_report_of

    seconds = _last(out, None)[2]
    with status_line("judging and drawing"):
        judgement = _judged(jobs, selection, out, seconds, pictures=True)
        page = write_report_of(judgement, selection, out)
    if as_json:
        _print_summary(judgement)
    else:
        _print_verdicts(judgement)
    print(f"report: {page}", file=sys.stderr)
    raise typer.Exit(_status(judgement.results, selection))


def _print_summary(judgement: Judgement) -> None:
    from tpbench.bench.summary import json_text

    print(json_text(judgement.summary), end="")


def _print_verdicts(judgement: Judgement) -> None:
    from tpbench.console import stdout, verdicts_table

    stdout().print(verdicts_table(judgement.results))


def _status(results: tuple[ClaimResult, ...], selection: Selection) -> int:
    """Return 3 when a claim is refuted, or when a planted fault is supported under some parametrization."""
    from tpbench.bench.claim import ClaimResult, Verdict

    if not selection.planted:
        return REFUTED if any(result.verdict is Verdict.REFUTED for result in results) else 0
    parts = [
        ClaimResult(result.claim, result.of(row.estimate.prediction.parametrization))
        for result in results
        for row in result.judged
    ]
    return REFUTED if any(part.verdict is Verdict.SUPPORTED for part in parts) else 0


if __name__ == "__main__":
    main()
