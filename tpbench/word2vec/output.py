"""What a word2vec training leaves behind: its vectors in a file, two groups of words in a plane, and pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from tpbench.bench.atomic import write_atomically
from tpbench.bench.claim import PROFILES, Claim, ClaimResult, Figure, Sweep
from tpbench.bench.plot import canvas, draw
from tpbench.networks.word2vec.model import Vectors
from tpbench.word2vec.record import Epoch, Plane, standard_error

NAME = "word2vec"


# ---------------------------------------------------------------------------------------------------------------


def writer_of(path: Path) -> Callable[[Sequence[str], NDArray[np.float32]], bytes]:
    """Return what makes a file of this name from words and vectors (seed, words, width).

    Raises ``ValueError`` where the name says neither format.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"--save writes {', '.join(WRITERS)} files, by the end of the name; got {path.name!r}")
    return WRITERS[path.suffix]


def save_vectors(path: Path, vocabulary: Sequence[str], state: Vectors) -> None:
    """Write the embeddings: all seeds and words to an .npz file, the first seed as word2vec's text to others.

    Raises ``ValueError`` for another kind of file, and ``StoreError`` when it cannot be written.
    """
    vectors = state.by_seed(state.embedding).float().cpu().numpy()
    write_atomically(path, writer_of(path)(vocabulary, vectors))


def _text(vocabulary: Sequence[str], vectors: NDArray[np.float32]) -> bytes:
    """Return the text format of word2vec's own code: sizes, then a word and its numbers a line."""
    lines = [f"{vectors.shape[1]} {vectors.shape[2]}"]
    # nine digits give a float32 back exactly
    lines += [f"{word} {' '.join(f'{x:.9g}' for x in row)}" for word, row in zip(vocabulary, vectors[0], strict=True)]
    return ("\n".join(lines) + "\n").encode()


def _archive(vocabulary: Sequence[str], vectors: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, words=np.array(vocabulary), vectors=vectors)
    return buffer.getvalue()


WRITERS: Mapping[str, Callable[[Sequence[str], NDArray[np.float32]], bytes]] = {
    ".txt": _text,
    ".vec": _text,
    ".npz": _archive,
}


# ---------------------------------------------------------------------------------------------------------------


def draw_epochs(title: str, epochs: Sequence[Epoch], sizes: Sequence[int]) -> Picture:
    """Draw accuracy, where there are questions, and loss against epoch: means over seeds, ± one standard error."""
    panels = {"loss a pair": [each.loss for each in epochs]}
    if sum(sizes):
        panels = {"accuracy on analogies": [each.accuracy(sizes) for each in epochs], **panels}
    with canvas.style():
        picture, axes = canvas.sheet(_titled(title), [(0, place) for place in range(len(panels))])
        for panel, (name, values) in zip(axes, panels.items(), strict=True):
            _curve(panel, [each.number for each in epochs], values)
            canvas.head(panel, name if len(values[0]) < 2 else f"{name}, mean ± standard error")
            if name.startswith("accuracy"):
                panel.yaxis.set_major_formatter(PercentFormatter(1.0))
                panel.set_ylim(0, max(0.01, panel.get_ylim()[1]))
    return picture


def _curve(axes: Axes, numbers: Sequence[int], values: Sequence[Sequence[float]]) -> None:
    means = np.array([np.mean(each) for each in values])
    errors = np.array([standard_error(each) or 0.0 for each in values])
    (line,) = axes.plot(numbers, means, marker=".")
    axes.fill_between(numbers, means - errors, means + errors, color=line.get_color(), alpha=0.2, lw=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def draw_plane(
    title: str, plane: Plane, parametrization: str, width: int | None, seed: int, epoch: int, *, kernel: bool = False
) -> Picture:
    """Draw the plane of the first seed after some epochs, of networks of a width or, for None, of the limit.

    ``kernel`` says that it is the kernel limit, whose plane is one at random.
    """
    prefix = "" if width is not None else "kernel-limit-" if kernel else "limit-"
    at = (parametrization, -1 if width is None else width, seed, epoch)
    rows = [
        (*at, component + 1, word, f"{prefix}map", plane.points[0, word, component])
        for word in range(plane.points.shape[1])
        for component in range(2)
    ]
    rows.append((*at, -1, -1, f"{prefix}separation", plane.separations[0]))
    table = pd.DataFrame(
        rows, columns=["parametrization", "width", "seed", "step", "layer", "index", "quantity", "value"]
    )
    [picture] = draw(_titled(title, Figure.MAP), ClaimResult(NAME, ()), table, labels=plane.groups).values()
    return picture


def _titled(title: str, *figures: Figure) -> Claim:
    """Return a claim that states the title, for the pictures of claims to be drawn without one."""
    sweeps = dict.fromkeys(PROFILES, Sweep((), (), (), {}))
    return Claim(NAME, title, "", "", NAME, sweeps, predict=lambda config: (), faults=(), figures=figures)
