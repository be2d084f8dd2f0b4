"""word2vec's experiments: second roads to their rows, what runs share, and what a configuration may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tpbench.bench.claim import ABSENT, Point, Row
from tpbench.bench.sweep import Selection
from tpbench.claims import CLAIMS, word2vec_config
from tpbench.claims.experiments import run, word2vec_epochs
from tpbench.claims.experiments.shared import needs_of
from tpbench.claims.experiments.word2vec_setup import setup
from tpbench.claims.word2vec_config import labels
from tpbench.networks.word2vec.train import train
from tpbench.parametrization import PARAMETRIZATIONS
from tpbench.pipeline import check_corpora, plan

TABLES = {name: table.as_config() for name, table in PARAMETRIZATIONS.items()}


def point_of(
    name: str, table: str = "mup", width: int = 16, seeds: tuple[int, ...] = (0, 1), **changes: object
) -> Point:
    claim = CLAIMS[name]
    config = {**claim.sweeps["smoke"].config, "tokens": 40_000, **changes, "parametrization": TABLES[table]}
    return Point(claim.experiment, table, width, seeds, config, "test")


def found(rows: list[Row], quantity: str, **where: int) -> list[float]:
    return [
        row.value
        for row in rows
        if row.quantity == quantity and all(getattr(row, key) == value for key, value in where.items())
    ]


@pytest.mark.parametrize("table", ["mup", "ntp", "sp-over-n"])
def test_the_parts_of_the_logits_movement_are_those_of_the_networks(table: str) -> None:
    """``ΔC h + C_0 Δh`` is the movement of the logits, measured here by logits before and after."""
    point = point_of("word2vec-feature-movement", table)
    rows, own = list(run(point)), setup(point)
    networks = own.initialise(point.seeds)
    start = networks.copy()
    contexts, targets = own.positions(own.path)
    for step, _ in enumerate(train(networks, own.path, own.training), start=1):
        if step == 8:
            break
    for place, seed in enumerate(point.seeds):
        logits = []
        for each in (start, networks):
            embedding, output = (each.by_seed(table)[place].double() for table in (each.embedding, each.output))
            logits.append(((contexts.double() @ embedding) * output[targets]).sum(1))
        moved = float((logits[1] - logits[0]).square().mean().sqrt())
        assert found(rows, "output-change", seed=seed, step=8) == [pytest.approx(moved, rel=1e-3)]
        assert found(rows, "output", seed=seed, step=8) == [
            pytest.approx(float(logits[1].square().mean().sqrt()), rel=1e-3)
        ]


def test_gaps_are_measured_from_limit_to_limit() -> None:
    rows = list(run(point_of("word2vec-geometry", "ntp")))
    for epoch in (1, 2, 3):
        [limit], [kernel] = (found(rows, f"{which}limit-accuracy", step=epoch) for which in ("", "kernel-"))
        expected = [(limit - one) / (limit - kernel) for one in found(rows, "accuracy", step=epoch)]
        assert found(rows, "accuracy-gap", step=epoch) == pytest.approx(expected)
    [limit], [kernel] = (found(rows, f"{which}limit-separation", step=3) for which in ("", "kernel-"))
    gaps = [(limit - one) / (limit - kernel) for one in found(rows, "separation", step=3)]
    assert found(rows, "separation-gap", step=3) == pytest.approx(gaps)
    assert found(rows, "separation-excess", step=3) == pytest.approx([-gap for gap in gaps])
    assert found(rows, "separation-lack", step=3) == pytest.approx([gap - 1 for gap in gaps])
    assert limit > 3 * kernel, "the limit tells the groups apart, random planes do not"
    assert {row.seed for row in rows if row.quantity.startswith(("limit-", "kernel-limit-"))} == {ABSENT}


def test_the_map_has_every_label_in_both_components() -> None:
    point = point_of("word2vec-geometry")
    words = sum(map(len, labels(point.config).values()))
    rows = list(run(point))
    for prefix in ("", "limit-", "kernel-limit-"):
        for layer in (1, 2):
            places = [row.index for row in rows if row.quantity == f"{prefix}map" and row.layer == layer]
            assert places == list(range(words))


def test_a_diverged_network_gives_no_number_and_no_error() -> None:
    rows = list(run(point_of("word2vec-geometry", "sp-over-n", width=4, base_width=512, record=[0, 1], epochs=1)))
    assert not np.isfinite(found(rows, "separation", step=1)).any()


@pytest.mark.parametrize("name", ["word2vec-limit", "word2vec-analogies"])
def test_limits_are_shared_by_widths_and_seeds_and_by_nothing_else(name: str) -> None:
    base = point_of(name)
    assert needs_of(base) == needs_of(replace(base, width=64, seeds=(7,))) != ()
    for key, value in {"rate": 0.01, "path_seed": 3, "tokens": 9000, "zero_output": False, "decay": 0.1}.items():
        other = replace(base, config={**base.config, key: value})
        assert set(needs_of(base)).isdisjoint(needs_of(other)), key


def test_random_logits_of_the_kernel_regime_have_a_limit_a_seed() -> None:
    """f_0 stays random under NTP, so that each seed's errors are against its own limit, and are small."""
    point = point_of("word2vec-limit", "ntp", width=1024, zero_output=False, record=[2], test_blocks=2)
    assert len(needs_of(point)) == 1
    rows = list(run(point))
    random = setup(point).initialise(point.seeds)
    size = (random.by_seed(random.embedding) @ random.by_seed(random.output).mT).square().mean().sqrt()
    assert max(found(rows, "output-error", step=2)) < 0.2 * float(size)


def test_labels_are_the_words_that_rows_number() -> None:
    c = point_of("word2vec-geometry").config
    told = labels(c)
    assert list(told) == ["country", "language"]
    assert told["country"][:3] == ("country0", "country1", "country2")
    assert labels({**c, "groups": []}) == {}
    assert labels({"dataset": "digits"}) == {}


@pytest.mark.parametrize("limit", [0.0, 0.25])
def test_no_gap_is_measured_where_the_limit_knows_nothing(limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = word2vec_epochs.Seen(np.array([0.25]), np.zeros(1))
    known = (dict.fromkeys((1, 2, 3), word2vec_epochs.Seen(np.array([limit]), np.zeros(1))), chance)
    answers = dict(zip(needs_of(point_of("word2vec-analogies")), known, strict=True))
    monkeypatch.setattr(word2vec_epochs, "found_of", answers.get)
    with pytest.raises(ValueError, match="vectors do too, so nothing can be measured by it: train on more tokens"):
        list(run(point_of("word2vec-analogies")))


def test_chance_is_what_random_vectors_score() -> None:
    """Before training, networks of all widths answer one question in as many as there are words to choose from."""
    rows = list(run(point_of("word2vec-analogies", width=256, seeds=tuple(range(8)), record=[0, 1], epochs=1)))
    [chance] = found(rows, "kernel-limit-accuracy", step=0)
    assert found(rows, "limit-accuracy", step=0) == [chance]
    scores = np.array(found(rows, "accuracy", step=0))
    assert abs(scores.mean() - chance) < 4 * scores.std(ddof=1) / len(scores) ** 0.5


def table_of(first: str, out: tuple[str, str, str]) -> dict[str, object]:
    """Return a table with a = b = 0 and this c for the embedding."""
    roles = {"input": ("0", "0", first), "output": out}
    return {"name": "mine", "source": "here", **{role: dict(zip("abc", e, strict=True)) for role, e in roles.items()}}


@pytest.mark.parametrize(
    "name", ["word2vec-limit", "word2vec-analogies", "word2vec-wider-is-better", "word2vec-geometry"]
)
def test_a_table_that_nears_its_limit_slowly_is_refused(name: str) -> None:
    """Stable, and in the kernel regime, but with zero output embeddings move by n^(-1/5)."""
    config = {**CLAIMS[name].sweeps["smoke"].config, "parametrization": table_of("-4/5", ("0", "9/10", "1"))}
    with pytest.raises(ValueError, match=r"'mine' nears its kernel limit like n\^-1/5"):
        CLAIMS[name].predict(config)


def test_predictions_know_that_the_output_starts_at_zero() -> None:
    """Feature learning for a random output, this table moves embeddings by n^(-1/2) only where the output is zero."""
    claim = CLAIMS["word2vec-analogies"]
    config = {**claim.sweeps["smoke"].config, "parametrization": table_of("-1", ("0", "1", "3/2"))}
    assert {prediction.predicted for prediction in claim.predict(config)} == {1.0}


def test_a_corpus_that_is_not_there_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    jobs = plan(Selection(("word2vec-analogies", "coordinate-size"), "nightly", "cpu"))
    with pytest.raises(ValueError, match=r"word2vec-analogies needs the corpus 'packaged'.*data prepare packaged"):
        check_corpora(jobs)
    check_corpora(plan(Selection(("word2vec-analogies",), "smoke", "cpu")))


def test_configurations_know_their_keys_and_groups() -> None:
    with pytest.raises(ValueError, match="unknown configuration key 'windw'; did you mean 'window'"):
        word2vec_config.config(windw=3)
    with pytest.raises(ValueError, match="two groups of words, or none, are told apart; got country, ocean"):
        list(run(point_of("word2vec-geometry", groups=["country", "ocean"])))
    with pytest.raises(ValueError, match="a plan is the law of the planted corpus"):
        list(run(point_of("word2vec-geometry", corpus="tiny")))


def test_positions_are_the_contexts_that_are_trained_on() -> None:
    own = setup(point_of("word2vec-limit"))
    contexts, targets = own.positions(own.path)
    block = next(own.path.epoch(0))
    assert torch.allclose(contexts.sum(1), torch.ones(len(contexts)))
    assert len(contexts) == len(targets) == int(block.present.sum())
