"""The pictures of docs/semicircle.md.

    python benchmarks/semicircle_picture.py results/figures

``semicircle.png``: eigenvalues of one symmetric matrix at n = 1000 with the density, and the moments ⟨x₀ A^k x₀⟩ of the
program by width with their limits. ``semicircle-graph.png``: the program. ``semicircle-convergence.png``: what
``tpbench program --plot`` draws.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tpbench.bench.plot import save
from tpbench.bench.plot.canvas import palette, style
from tpbench.program_picture import picture as draw_study
from tpbench.program_study import Request, study
from tpbench.programs import Program, gaussian, inner, matrix, program, sample
from tpbench.programs.graph import draw as draw_graph
from tpbench.programs.infinite import limit

SIZE, BINS, SEEDS = 1000, 40, 64
WIDTHS = tuple(2**m for m in range(5, 15))
POWERS = (2, 4, 6, 8)
LAZY_FROM = 512


def moments(*powers: int) -> Program:
    """Return the program of ⟨x₀ A^k x₀⟩."""
    W, x = matrix("W", variance=Fraction(1, 2)), [gaussian("x0")]
    for i in range(max(powers)):
        x.append(((W + W.T) @ x[i]).named(f"x{i + 1}"))
    return program(**{f"m{k}": inner(x[0], x[k]) for k in powers})


def eigenvalues(axes: Axes) -> None:
    """Draw the eigenvalues of one matrix, and the density."""
    cpu = torch.device("cpu")
    draws = torch.Generator(device=cpu).manual_seed(0)
    V = torch.randn((SIZE, SIZE), generator=draws, dtype=torch.float64, device=cpu) * (0.5 / SIZE) ** 0.5
    found = torch.linalg.eigvalsh(V + V.T).numpy()
    t = np.linspace(-2, 2, 400)
    blue, orange, *_ = palette("colorblind")
    axes.hist(found, bins=BINS, range=(-2.2, 2.2), density=True, color=blue, alpha=0.45, label=f"n = {SIZE}, one draw")
    axes.plot(t, np.sqrt(4 - t**2) / (2 * np.pi), color=orange, lw=2, label="√(4 − t²)/2π")
    axes.set_xlabel("eigenvalue t")
    axes.set_ylabel("density")
    axes.set_ylim(0, 0.42)
    axes.set_title("eigenvalues of W + Wᵀ", loc="left", fontsize=10)
    axes.legend(loc="upper right", fontsize=8)


def by_width(axes: Axes) -> None:
    """Draw the moments' means over seeds against width, and their limits."""
    made = moments(*POWERS)
    known = limit(made).scalars
    for k, colour in zip(POWERS, palette("colorblind"), strict=False):
        name, means, errors = f"m{k}", [], []
        for width in WIDTHS:
            values = sample(made, width, SEEDS, weights="lazy" if width >= LAZY_FROM else "dense")[name]
            means.append(float(values.mean()))
            errors.append(2 * float(values.std()) / SEEDS**0.5)
        axes.errorbar(WIDTHS, means, errors, fmt="o", color=colour, ms=4, capsize=2, lw=1)
        axes.axhline(known[name].mean, color=colour, ls="--", lw=1.2)
        label = f"{name} → {known[name]}"
        axes.annotate(
            label, (WIDTHS[-1], known[name].mean), xytext=(0, 4), textcoords="offset points", ha="right", fontsize=8
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_yticks([1, 2, 5, 14], ["1", "2", "5", "14"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0.7, 30)
    axes.set_xlabel("width n")
    axes.set_title("moments ⟨x₀ Aᵏ x₀⟩, two standard errors", loc="left", fontsize=10)


def main() -> None:
    """Draw all three into a directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    with style():
        picture = Figure(figsize=(9.5, 3.6), layout="constrained")
        left, right = picture.subplots(1, 2)
        eigenvalues(left)
        by_width(right)
    found = study("semicircle", moments(2, 4, 6), Request())
    graph = draw_graph(moments(0, 1, 2, 3, 4))
    pictures = {"semicircle": picture, "semicircle-graph": graph, "semicircle-convergence": draw_study(found)}
    for path in save(pictures, directory):
        print(path)


if __name__ == "__main__":
    main()
