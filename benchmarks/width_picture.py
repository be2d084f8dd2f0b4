"""Coordinate size and feature movement from width 2^6 to 2^20 under SP, NTP and muP: the picture of the README.

    python benchmarks/width_picture.py results/figures/widths.png

Two hidden tanh layers, 8 digits, one full-batch step of rate 1/2 on f - f_0. Dense networks up to 2^11 in float32,
lazy ones from 2^10 in float64; where both are, two marks lie on each other, since they are networks of one law. The
lines are fitted to nothing: they have the predicted exponent and pass through the widest point.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpbench.bench.claim import Point
from tpbench.claims.config import config
from tpbench.claims.experiments.setup import setup
from tpbench.networks.train import Task
from tpbench.networks.trajectory import MEASURES, Course, trajectories
from tpbench.parametrization import exponent, named

TABLES = {"sp": "SP", "ntp": "NTP", "mup": "muP"}
LABEL_OFFSETS = {"sp": 0, "ntp": -8, "mup": 8}  # points: under NTP and muP coordinates have one size
PANELS = {
    "preactivation": "coordinate size: pre-activations of layer 2",
    "preactivation-change": "feature movement: their change in the step",
}
LAYER = 2
DENSE = {2**m: 2 ** (14 - m) for m in range(6, 12)}
LAZY = {2**m: max(4, 2 ** (14 - m)) for m in range(10, 21)}


def sizes(table: str, weights: str, width: int, seeds: int) -> dict[str, tuple[float, float]]:
    """Return the root mean square over seeds of every panel's quantity, and its standard error."""
    settings = config(
        activation="tanh",
        sigma_w=1.5,
        examples=8,
        train=8,
        learning_rate=0.5,
        centred=True,
        parametrization=named(table).as_config(),
        weights=weights,
        dtype="float64" if weights == "lazy" else "float32",
    )
    run = setup(Point("training", table, width, tuple(range(seeds)), settings, "picture"))
    values: dict[str, list[np.ndarray]] = {name: [] for name in PANELS}
    for part in run.parts():
        course = Course(Task(run.inputs, run.targets), run.optimizer, run.order, run.inputs, centred=True)
        found = trajectories(run.initialise(part), course, {name: MEASURES[name] for name in PANELS})
        for name in PANELS:
            values[name].append(found[name][:, -1, LAYER - 1])
    squares = {name: np.concatenate(parts) ** 2 for name, parts in values.items()}
    return {
        name: (float(np.sqrt(s.mean())), float(s.std(ddof=1) / np.sqrt(len(s)) / 2 / np.sqrt(s.mean())))
        for name, s in squares.items()
    }


def measure(widest: int) -> dict[tuple[str, str], dict[int, dict[str, tuple[float, float]]]]:
    """Return the sizes by table and weights, by width."""
    plans: Mapping[str, Mapping[int, int]] = {"dense": DENSE, "lazy": LAZY}
    return {
        (table, weights): {n: sizes(table, weights, n, seeds) for n, seeds in widths.items() if n <= 2**widest}
        for table in TABLES
        for weights, widths in plans.items()
    }


def draw(found: dict[tuple[str, str], dict[int, dict[str, tuple[float, float]]]]) -> Figure:
    """Return the picture."""
    sns.set_theme(style="whitegrid", context="notebook")
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(PANELS))
    colours = dict(zip(TABLES, (sns.color_palette("colorblind")[i] for i in (2, 3, 0)), strict=True))
    for panel, (quantity, title) in zip(panels, PANELS.items(), strict=True):
        for table in TABLES:
            _line(panel, {w: found[table, w] for w in ("dense", "lazy")}, table, quantity, colours[table])
        panel.set(yscale="log", xlabel="width n", ylabel="root mean square", title=title)
        panel.set_xscale("log", base=2)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(TABLES), fontsize=9)
    figure.suptitle("After one SGD step on digits, 2 hidden tanh layers: the same line from dense to lazy networks")
    return figure


def _line(
    panel: Axes,
    by_weights: dict[str, dict[int, dict[str, tuple[float, float]]]],
    table: str,
    quantity: str,
    colour: tuple[float, float, float],
) -> None:
    """Draw one table's points, and the line of its predicted exponent through its widest point."""
    for weights, marker, filled, size in (("dense", "o", True, 5), ("lazy", "D", False, 7)):
        sized = by_weights[weights]
        widths, values = list(sized), [each[quantity][0] for each in sized.values()]
        errors = [2 * each[quantity][1] for each in sized.values()]
        style = {"markerfacecolor": colour if filled else "none", "markersize": size}
        label = f"{TABLES[table]}, {weights}"
        panel.errorbar(widths, values, yerr=errors, fmt=marker, color=colour, label=label, capsize=2, **style)
    power = float(exponent(named(table), quantity, depth=2, layer=LAYER, first_step=True))
    widest = max(by_weights["lazy"])
    line, height = np.array([min(by_weights["dense"]), widest]), by_weights["lazy"][widest][quantity][0]
    panel.plot(line, height * (line / widest) ** power, "--", color=colour, linewidth=1)
    told = f"{TABLES[table]}: $n^{{{power:g}}}$"
    panel.annotate(
        told, (widest, height), (10, LABEL_OFFSETS[table]), textcoords="offset points", va="center", color=colour
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the PNG to write")
    parser.add_argument("--widest", type=int, default=20, help="log2 of the widest lazy network")
    asked = parser.parse_args()
    draw(measure(asked.widest)).savefig(asked.file, dpi=110)


if __name__ == "__main__":
    main()
