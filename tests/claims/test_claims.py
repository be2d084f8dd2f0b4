"""Every claim: it is well formed, holds on small sweeps of real networks, and each of its planted faults is refuted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from tpbench.bench.claim import PROFILES, Claim, ClaimResult, Figure, Kind, Point, Row, Verdict
from tpbench.bench.estimate import estimate
from tpbench.bench.sweep import Selection, label, parametrization_of
from tpbench.claims import CLAIMS
from tpbench.claims.experiments import EXPERIMENTS, TIMED, run
from tpbench.claims.experiments.cost import WASTE
from tpbench.claims.experiments.setup import setup
from tpbench.networks.cost import peak_bytes
from tpbench.parametrization import PARAMETRIZATIONS, Exponents, kernel_content
from tpbench.parametrization.catalogue import CATALOGUE
from tpbench.pipeline import Job, judge_job, plan

MUP = PARAMETRIZATIONS["mup"].as_config()
SMALL = {"widths": (32, 64, 128, 256, 512), "seeds": 48}
NARROW = {"widths": (32, 64, 96, 128, 192), "seeds": 24}
FEW = {"widths": (16, 32, 64, 128, 256, 512), "seeds": 4}
SIZES = {
    "word2vec-epochs": FEW,
    "word2vec-sizes": {"widths": (64, 128, 256, 512, 1024), "seeds": 16},
    "regimes": {"widths": (128, 512, 2048, 8192), "seeds": 4, "weights": "lazy"},
    "gaussian-process": {"widths": (8, 16, 32, 64), "seeds": 1024},
    "higher-order": {"widths": (256, 512, 2048), "seeds": 6, "weights": "lazy"},
    "semicircle": {"widths": (16, 32, 64, 128), "seeds": 512},
    "marchenko-pastur": {"widths": (32, 64, 128), "seeds": 192},
    "free-independence": {"widths": (16, 32, 64, 128), "seeds": 512},
    "jacobian-singular-values": {"widths": (16, 32, 64, 128), "seeds": 256},
    "program-moments": {"widths": (16, 32, 64, 128), "seeds": 1024},
    "central-limit": {"widths": (32, 64, 128, 256), "seeds": 512},
    "iid-coordinates": {"widths": (16, 32, 64, 128), "seeds": 512},
    "shift": {"widths": (32, 64, 128), "seeds": 16},
    "alignment": NARROW,
    "architecture-kernels": {"widths": (32, 64, 128), "seeds": 192},
    **{name: {"widths": (32, 64, 128, 256), "seeds": 384} for name in ("nngp-rnn", "ntk-rnn")},
    **{name: {"widths": (16, 32, 64), "seeds": 128} for name in ("nngp-conv2d", "ntk-conv2d")},
    **{name: {"widths": (16, 32, 64), "seeds": 192} for name in ("nngp-batchnorm", "ntk-batchnorm")},
    "spectra": NARROW,
    "shrinkage": NARROW,
    "adam-exponents": NARROW,
    "ntk-ensemble": {"widths": (32, 64, 128, 256), "seeds": 64},
    "gradient-flow": {"widths": (32, 64, 96, 128), "seeds": 32},
    "edge-of-stability": {"widths": (256, 512, 1024, 2048), "seeds": 8, "weights": "lazy"},
    "cross-entropy-rate": {"widths": (256, 512, 1024, 2048, 4096), "seeds": 8, "weights": "lazy"},
}
"""Experiment or claim -> the sizes of its small sweep, where they are not the usual ones: epochs of a text take long,
Adam's state as well, and regimes come apart at large widths."""
SHOWS = {
    Figure.EXPONENTS: {Kind.EXPONENT},
    Figure.CONVERGENCE: {Kind.BIAS, Kind.SPREAD, Kind.VALUE},
    Figure.FAMILY: set(Kind),
    Figure.RANKED: set(Kind),
}
"""Figure -> the kinds of estimates that it draws, where it draws estimates."""
TRAINED = [claim for claim in CLAIMS.values() if claim.experiment not in TIMED]
FAULTS = [(claim, fault.name) for claim in TRAINED for fault in claim.faults]


def rows_of(job: Job) -> pd.DataFrame:
    """Run a job's points in this process."""
    frames = []
    for point in job.points:
        frame = pd.DataFrame(list(run(point)), columns=list(Row._fields))
        frames.append(frame.assign(parametrization=point.parametrization, width=point.width))
    return pd.concat(frames, ignore_index=True)


def judged(claim: Claim, *, fault: str = "", profile: str = "smoke") -> ClaimResult:
    sizes = SIZES.get(claim.name, SIZES.get(claim.experiment, SMALL))
    selection = Selection((claim.name,), profile, "cpu", planted=bool(fault), **sizes)
    [job] = [job for job in plan(selection) if not fault or job.claim.name.endswith(f"+{fault}")]
    return judge_job(job, rows_of(job))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.name)
def test_is_well_formed(claim: Claim) -> None:
    assert set(claim.sweeps) == set(PROFILES)
    assert claim.experiment in EXPERIMENTS
    assert claim.faults, "every claim shows that it can fail"
    assert claim.figures
    assert "arXiv" in claim.source or "derived" in claim.source or "count" in claim.source
    for profile in PROFILES:
        sweep = claim.sweeps[profile]
        assert len({*sweep.widths, *sweep.lazy}) >= 3
        assert min((*sweep.seeds, *sweep.lazy.values())) >= 2
        [job] = plan(Selection((claim.name,), profile, "cpu"))
        labels = {p.parametrization for p in job.predictions}
        assert labels == {label(name, variant) for name in sweep.parametrizations for variant in sweep.variants}
        assert {parametrization_of(name) for name in labels} == set(sweep.parametrizations) <= set(CATALOGUE)
        assert job.note == ""
        kinds = {prediction.kind for prediction in job.predictions}
        assert all(SHOWS[figure] & kinds for figure in claim.figures if figure in SHOWS), "a picture that shows nothing"
        for prediction in job.predictions:
            assert abs(prediction.rival - prediction.predicted) >= 2 * prediction.tolerance


@pytest.mark.slow
@pytest.mark.parametrize("claim", TRAINED, ids=lambda claim: claim.name)
def test_is_not_refuted_by_small_networks(claim: Claim) -> None:
    result = judged(claim)
    assert result.verdict is not Verdict.REFUTED
    assert any(row.verdict is Verdict.SUPPORTED for row in result.judged), "the sweep says something"


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "fault"), FAULTS, ids=[f"{claim.name}+{fault}" for claim, fault in FAULTS])
def test_planted_fault_is_refuted(claim: Claim, fault: str) -> None:
    """The claim is refuted, and supported under no parametrization that the fault does not spare."""
    result = judged(claim, fault=fault)
    assert result.verdict is Verdict.REFUTED
    hit = {row.estimate.prediction.parametrization for row in result.judged}
    assert [name for name in hit if ClaimResult(name, result.of(name)).verdict is Verdict.SUPPORTED] == []


@pytest.mark.parametrize(
    ("power", "memory", "verdict"),
    [
        (1.8, 2.0, Verdict.SUPPORTED),
        (2.0, 2.0, Verdict.SUPPORTED),
        (3.0, 2.0, Verdict.REFUTED),
        (2.0, 1.0, Verdict.REFUTED),
        (2.0, 3.0, Verdict.REFUTED),
    ],
)
def test_time_is_a_bound_and_memory_an_equality(power: float, memory: float, verdict: Verdict) -> None:
    [job] = plan(Selection(("cost",), "smoke", "cpu"))
    rng = np.random.default_rng(0)
    rows = [
        (point.parametrization, point.width, seed, quantity, size)
        for point in job.points
        for seed in point.seeds
        for quantity, size in (
            ("step-seconds", 1e-9 * point.width**power * rng.uniform(1.0, 1.02)),
            ("peak-bytes", 4.0 * point.width**memory),
        )
    ]
    frame = pd.DataFrame(rows, columns=["parametrization", "width", "seed", "quantity", "value"])
    assert judge_job(job, frame.assign(layer=-1, step=-1, index=-1)).verdict is verdict


def test_planted_cost_really_multiplies() -> None:
    """The fault is a real n × n × n product: its product takes n² numbers more than an honest step does."""
    weights = torch.ones(1, 64, 64, device=torch.device("cpu"))
    assert peak_bytes(lambda: WASTE["cubic"](weights)) == 4 * 64 * 64
    assert peak_bytes(lambda: WASTE["none"](weights)) == 0


def test_user_table_is_judged_or_refused_with_a_reason() -> None:
    unstable = PARAMETRIZATIONS["sp"].as_config()
    job, other = plan(Selection(("coordinate-size", "sp-blowup"), "smoke", "cpu", tables={"sp": unstable}))
    assert job.points == ()
    assert other.points
    assert "sp" in job.note
    assert "blow" in job.note
    result = judge_job(job, None)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_relu_kernel_freezes_more_slowly() -> None:
    """A kink makes the tangent kernel freeze like n^(-3/4), not 1/n: derived in the claim, measured here."""
    claim = CLAIMS["ntk-frozen"]
    config = {**claim.sweeps["smoke"].config, "parametrization": PARAMETRIZATIONS["ntp"].as_config()}
    moved = {p.predicted for p in claim.predict({**config, "activation": "relu"}) if p.quantity == "kernel-movement"}
    assert moved == {-0.75}


@pytest.mark.slow
def test_relu_kernel_movement_is_measured() -> None:
    claim = CLAIMS["ntk-frozen"]
    config = {
        **claim.sweeps["smoke"].config,
        "parametrization": PARAMETRIZATIONS["ntp"].as_config(),
        "activation": "relu",
        "record": [0, 2],
        "steps": 2,
    }
    frames = []
    for width, seeds in {64: 256, 128: 256, 256: 128, 512: 64, 1024: 32}.items():
        point = Point("tangent", "ntp", width, tuple(range(seeds)), config, "test")
        frames.append(pd.DataFrame(list(run(point)), columns=list(Row._fields)).assign(width=width))
    rows = pd.concat(frames).assign(parametrization="ntp")
    [prediction] = [p for p in claim.predict(config) if p.quantity == "kernel-movement"]
    found = estimate(prediction, rows)
    assert found.low > -0.95, "not the 1/n of smooth activations"
    assert found.low <= -0.75 <= found.high


def test_parts_hold_every_seed_once_and_none_or_all_are_alone() -> None:
    """A batched product of one matrix is rounded differently, so a seed is alone or not by its width alone."""
    for width in (16, 512, 1024, 2048):
        alone = set()
        for seeds in (2, 3, 4, 5, 17, 64):
            [job] = plan(
                Selection(("zero-output",), "smoke", "cpu", tables={"mup": MUP}, widths=(width, 1, 2), seeds=seeds)
            )
            [point] = [point for point in job.points if point.width == width]
            parts = list(setup(point).parts())
            assert sum(parts, ()) == point.seeds
            alone |= {len(part) == 1 for part in parts}
        assert len(alone) == 1


def test_one_hidden_layer_tables_run_every_claim_that_takes_them() -> None:
    tables = {"mean-field": PARAMETRIZATIONS["mean-field"].as_config()}
    for name, claim in CLAIMS.items():
        job, _ = plan(Selection((name, "zero-output"), "smoke", "cpu", tables=tables, widths=(8, 16, 32), seeds=2))
        labels = {label("mean-field", variant) for variant in claim.sweeps["smoke"].variants}
        refused = {each for each in labels if f"does not apply to {each}:" in job.note}
        assert {point.parametrization for point in job.points} == labels - refused, claim.name
        for point in job.points:
            assert list(run(point)), claim.name


def test_tables_between_ntp_and_mup_are_refused_by_the_kernel_claims() -> None:
    """Yaida's family (s = 1/2): the NTK's terms are all there, but features move by n^(-1/4) and rates differ."""
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    ntp = PARAMETRIZATIONS["ntp"]
    table = replace(
        ntp,
        name="between",
        input=replace(ntp.input, c=-half),
        hidden=Exponents(Fraction(0), half, half),
        output=Exponents(Fraction(0), half + quarter, Fraction(1)),
    )
    assert set(kernel_content(table, 2)) == {0}
    for name in ("ntk-frozen", "ntk-dynamics"):
        job, _ = plan(Selection((name, "zero-output"), "smoke", "cpu", tables={"between": table.as_config()}))
        assert job.points == ()
        assert "n^(-1/4)" in job.note


def test_a_limit_that_is_not_known_well_enough_is_refused() -> None:
    """Its error would be a bias of every width, which no scatter over seeds shows."""
    [job] = plan(Selection(("mup-deep-limit",), "smoke", "cpu", widths=(8, 16, 32), seeds=2))
    point = replace(job.points[0], config={**job.points[0].config, "limit_error": 1e-6})
    with pytest.raises(ValueError, match=r"1\.0e-06 is asked for: raise limit_replicates or limit_points"):
        list(run(point))
