"""The main path, one function an arrow: selection -> jobs -> runs -> results -> pictures and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpbench.bench.claim import PROFILES, WEIGHTS, Claim, ClaimResult, Config, Fault, Point, Prediction
from tpbench.bench.jobs import Job
from tpbench.bench.sweep import Selection, check_weights, configurations, parametrization_of, points
from tpbench.claims import CLAIMS, claim, code_version
from tpbench.claims.config import fit_depth
from tpbench.claims.word2vec_config import labels
from tpbench.data import DATASETS, load
from tpbench.data.corpus import missing
from tpbench.parametrization import did_you_mean, table_of
from tpbench.parametrization.catalogue import CATALOGUE

if TYPE_CHECKING:
    import pandas as pd

    from tpbench.bench.engine import Execution, Progress
    from tpbench.bench.summary import Summary


def select(
    claims: Sequence[str],
    *,
    profile: str,
    device: str,
    parametrizations: Sequence[str] = (),
    widths: Sequence[int] = (),
    seeds: int | None = None,
    dataset: str | None = None,
    planted: bool = False,
    weights: str | None = None,
) -> Selection:
    """Return a checked selection; ``ValueError`` names an unknown word or a bad file.

    ``parametrizations`` are names or TOML files; no claims means all of them. ``weights`` are "dense" or "lazy"; None
    takes both kinds where the profile has them.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}{did_you_mean(profile, dict.fromkeys(PROFILES))}")
    if weights is not None and weights not in WEIGHTS:
        raise ValueError(f"unknown weights {weights!r}{did_you_mean(weights, dict.fromkeys(WEIGHTS))}")
    if dataset is not None and dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}{did_you_mean(dataset, DATASETS)}")
    if dataset is not None:
        _check_data(dataset)
    tables = [table_of(word).as_config() for word in parametrizations]
    names = [table["name"] for table in tables]
    if len(set(names)) < len(names):
        raise ValueError(f"two parametrizations have one name ({', '.join(names)}): give each a name of its own")
    return Selection(
        claims=tuple(dict.fromkeys(claim(name).name for name in claims)) or tuple(CLAIMS),
        profile=profile,
        device=device,
        tables={table["name"]: table for table in tables},
        widths=tuple(widths),
        seeds=seeds,
        dataset=dataset,
        planted=planted,
        weights=weights,
    )


def _check_data(name: str) -> None:
    """Load a data set before anything is trained on it; ``ValueError`` when its files are missing or damaged."""
    try:
        load(name)
    except OSError as error:
        raise ValueError(str(error)) from error


def plan(selection: Selection) -> list[Job]:
    """Return what has to be run and judged; ``ValueError`` when the selection makes no sense for any claim."""
    check_weights([claim(name) for name in selection.claims], selection)
    tables = {name: table.as_config() for name, table in CATALOGUE.items()}
    jobs = []
    for name in selection.claims:
        chosen = claim(name)
        wanted = {label: fit_depth(config) for label, config in configurations(chosen, selection, tables).items()}
        predicted, refusals = _predict(chosen, wanted)
        known = {label: config for label, config in wanted.items() if label in predicted}
        note = "; ".join(f"does not apply to {label}: {why}" for label, why in refusals.items())
        for fault in chosen.faults if selection.planted else (None,):
            spared = fault.spares if fault else ()
            hit = {label: config for label, config in known.items() if parametrization_of(label) not in spared}
            runs = tuple(points(chosen, selection, hit, code=code_version(), fault=fault))
            flat = tuple(prediction for label in hit for prediction in predicted[label])
            words = partial(labels, dict(runs[0].config)) if runs else None
            charts = partial(chosen.atlas, hit) if chosen.atlas and runs else None
            jobs.append(Job(_with_fault(chosen, fault), runs, flat, note, words, charts))
    if not any(job.points for job in jobs):
        raise ValueError("; ".join(["there is nothing to run", *(f"{job.claim.name} {job.note}" for job in jobs)]))
    return jobs


def check_corpora(jobs: Sequence[Job]) -> None:
    """Raise ``ValueError``, with what to do, when a run needs a corpus that is not on this machine."""
    asked = {point.config["corpus"]: job.claim.name for job in jobs for point in job.points if "corpus" in point.config}
    lacking = {name: why for name in asked if (why := missing(name))}
    if lacking:
        needs = "; ".join(f"{asked[name]} needs the corpus {name!r}: {why}" for name, why in lacking.items())
        raise ValueError(f"{needs}; or name other claims")


def keep_their_data(jobs: Sequence[Job], selection: Selection) -> list[str]:
    """Return the claims that keep their own data, where the selection asks for a data set."""
    if selection.dataset is None:
        return []
    sweeps = {job.claim.name: job.claim.sweeps[selection.profile] for job in jobs}
    return [
        name
        for name, each in sweeps.items()
        if "dataset" not in each.config or any("dataset" in changes for changes in each.variants.values())
    ]


def _with_fault(chosen: Claim, fault: Fault | None) -> Claim:
    """Return the claim under the name of its planted fault."""
    if fault is None:
        return chosen
    statement = f"PLANTED FAULT ({fault.description}), which must not be supported: {chosen.statement}"
    return replace(chosen, name=f"{chosen.name}+{fault.name}", statement=statement)


def _predict(chosen: Claim, wanted: Mapping[str, Config]) -> tuple[dict[str, tuple[Prediction, ...]], dict[str, str]]:
    """Return, by label, what the claim predicts of each configuration, or why it does not apply to it.

    Predictions get the label for their parametrization, as rows have it: a claim knows tables and no variants.
    """
    predicted, refusals = {}, {}
    for label, config in wanted.items():
        try:
            predicted[label] = tuple(replace(each, parametrization=label) for each in chosen.predict(config))
        except ValueError as refusal:
            refusals[label] = str(refusal)
    return predicted, refusals


def compute(
    jobs: Sequence[Job],
    out: Path,
    *,
    workers: int,
    force: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> list[Execution]:
    """Run every point that the store under ``out`` does not hold: a pool first, then what is timed, alone.

    ``progress`` makes a callback for a stage of the given title. Raises what ``engine.execute`` raises.
    """
    from tpbench.bench.engine import execute, pool, serial
    from tpbench.claims.experiments import TIMED, run
    from tpbench.claims.experiments.ahead import begin, compute_ahead
    from tpbench.claims.experiments.threads import set_threads

    wanted = list({point.digest: point for job in jobs for point in job.points}.values())
    timed = [point for point in wanted if point.experiment in TIMED]
    untimed = [point for point in wanted if point.experiment not in TIMED]
    if workers > 1:
        tell = progress("limits") if progress else None
        known = compute_ahead(untimed, out / "runs", workers=workers, force=force, progress=tell)
        pooled = pool(workers, initialise=partial(begin, known))
    else:
        pooled = serial(initialise=set_threads)
    kinds = (("training", untimed, pooled), ("timing", timed, pool(1, initialise=set_threads)))
    return [
        execute(
            group,
            run,
            out=out,
            engine=engine,
            provenance=provenance_of(group[0]),
            force=force,
            progress=progress(title) if progress else None,
        )
        for title, group, engine in kinds
        if group
    ]


def provenance_of(point: Point) -> dict[str, Any]:
    """Return where and with what a point is computed, and the runs that are computed with it."""
    from tpbench.bench.provenance import count_cores, provenance

    return provenance(point.config["device"], point.config["dtype"], count_cores())


def rows_of(job: Job, out: Path) -> pd.DataFrame:
    """Return the rows of a job; ``MissingRuns`` when some have not been computed."""
    from tpbench.bench.store import load

    return load(out / "runs", job.points)


def judge_job(job: Job, rows: pd.DataFrame | None) -> ClaimResult:
    """Return the verdicts of a job from its rows; None stands for a job without points."""
    from tpbench.bench.conclude import judge_rows

    return judge_rows(job, rows)


def origin_of(jobs: Sequence[Job], out: Path, wall_seconds: float) -> dict[str, Any]:
    """Return the provenance of the first run, with all commits, dtypes and seeds of the runs, and the wall time."""
    from tpbench.bench.origin import origin

    return origin([point for job in jobs for point in job.points], out / "runs", wall_seconds)


@dataclass(frozen=True)
class Judgement:
    """Results of all jobs, the summary of the whole, and the pictures by claim, name and PNG, if they were drawn."""

    jobs: tuple[Job, ...]
    results: tuple[ClaimResult, ...]
    summary: Summary
    provenance: Mapping[str, Any]
    pictures: Mapping[str, Sequence[tuple[str, bytes]]] = field(default_factory=dict)


def judge_all(
    jobs: Sequence[Job],
    selection: Selection,
    out: Path,
    wall_seconds: float,
    *,
    pictures: bool = False,
    workers: int | None = None,
) -> Judgement:
    """Judge every job from the rows under ``out``, and draw them where ``pictures`` says so.

    ``wall_seconds`` is how long the run took that computed them, for the record; ``workers`` is the number of
    processes, None one a core. Raises ``MissingRuns`` when some runs have not been computed, ``WorkersDied`` when a
    process was killed.
    """
    from tpbench.bench.conclude import conclude_all
    from tpbench.bench.provenance import count_cores
    from tpbench.bench.summary import summarise

    found = conclude_all(jobs, out / "runs", pictures=pictures, workers=count_cores() if workers is None else workers)
    results = tuple(each.result for each in found)
    costs = [record for job, each in zip(jobs, found, strict=True) if job.claim.name == "cost" for record in each.costs]
    origin = origin_of(jobs, out, wall_seconds)
    drawn = {job.claim.name: each.pictures for job, each in zip(jobs, found, strict=True) if each.pictures}
    return Judgement(tuple(jobs), results, summarise(results, selection.profile, costs, origin), origin, drawn)


def folder(selection: Selection, out: Path) -> Path:
    """Return where the pictures, summary and report of a selection lie."""
    return out / "reports" / (selection.profile + ("-planted" if selection.planted else ""))


def write_pictures(judgement: Judgement, where: Path) -> list[Path]:
    """Write the pictures of a judgement into ``where/figures`` and return their paths."""
    from tpbench.bench.atomic import write_atomically

    pictures = [picture for of_claim in judgement.pictures.values() for picture in of_claim]
    paths = [where / "figures" / f"{name}.png" for name, _ in pictures]
    for path, (_, png) in zip(paths, pictures, strict=True):
        write_atomically(path, png)
    return paths


def write_report_of(judgement: Judgement, selection: Selection, out: Path) -> Path:
    """Write pictures, summary and HTML page, and return the page's path; its pictures are those of the judgement."""
    from tpbench.bench.report import render, write_report
    from tpbench.bench.summary import write_summary

    where = folder(selection, out)
    write_pictures(judgement, where)
    write_summary(where / "summary.json", judgement.summary)
    claims = [job.claim for job in judgement.jobs]
    page = render(claims, judgement.results, judgement.pictures, judgement.provenance, selection.profile)
    write_report(where / "index.html", page)
    return where / "index.html"
