"""The report: one HTML page that needs nothing else, made from claims, verdicts, pictures and provenance.

The page loads nothing: pictures travel inside it, there is no script, and its Content-Security-Policy forbids
everything but the one style sheet (by its hash) and those pictures.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from tpbench.bench import fold, words
from tpbench.bench.atomic import write_atomically
from tpbench.bench.claim import ABSENT, Claim, ClaimResult, Figure, Verdict
from tpbench.bench.fold import Shown

PROVENANCE = ("started", "wall_seconds", "commit", "packages", "device", "threads", "seeds")
"""What a report must be told about its run: what ``provenance.provenance`` says, the wall time and the seeds."""

_POWERS = (
    "Both axes are logarithmic, so a power law is a straight line and its slope is the exponent. Points are "
    "measured with their 95% intervals; solid lines are fits with the interval of the slope; dashed lines have the "
    "slope theory predicts, dotted ones the rival's."
)
CAPTIONS = {
    Figure.EXPONENTS: f"Size (root mean square) against width, a panel a quantity. {_POWERS}",
    Figure.TRAJECTORIES: (
        "Outputs over training. Finite networks, from light (narrow) to dark (wide), should close in on the black "
        "dashed line, the network of infinite width."
    ),
    Figure.RESIDUALS: (
        "How far outputs are from their target over training, on a logarithmic axis: what converges falls, what "
        "diverges rises. Finite networks, from light (narrow) to dark (wide), should close in on the dashed line of "
        "their colour, the network of infinite width."
    ),
    Figure.CONVERGENCE: (
        f"Distance to the limit against width: bias (the mean over seeds) and spread. {_POWERS} Panels against "
        "1/width show a value with its extrapolation to infinite width, at 0."
    ),
    Figure.COST: f"Cost of a training step against width. {_POWERS}",
    Figure.EPOCHS: (
        "A quantity over epochs of training. Finite networks, from light (narrow) to dark (wide), are means over seeds "
        "with their 95% intervals; they should close in on the black dashed line, the network of infinite width. The "
        "grey dotted line is the kernel limit, which learns no features."
    ),
    Figure.REGIMES: (
        "Slices through the space of parametrizations. The ground shows the regime that theory gives each point, the "
        "marks what measured exponents say of networks trained there; the table counts all parametrizations, those on "
        "no slice among them. Canonical tables: a = 0, b₁ = 0, b₂ = ½ on the slices."
    ),
    Figure.RANKED: (
        "Measured exponents of many parametrizations with their 95% intervals, in order of size. Bands are the values "
        "that agree with the prediction of their colour; exponents beyond ±1 are drawn at the edge."
    ),
    Figure.FAMILY: (
        "Exponents along a family of parametrizations, with their 95% intervals. The dashed line is theory, the dotted "
        "one the rival."
    ),
    Figure.MAP: (
        "Words at the first two principal components of their vectors after training: a finite network, and the "
        "networks of infinite width with features and without. Where features are learned, the groups come apart."
    ),
}
"""How each kind of picture is read."""

OTHERS = "others"
"""The column of all parametrizations of claims that are about very many."""

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Image:
    """A picture inside the page: ``source`` is a data URI, width and height are in pixels."""

    source: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What the page says of one claim; ``cells`` has its verdict in each column, where it applies.

    ``shown`` are the estimates that the page lists: all of them, or the worst of very many.
    """

    anchor: str
    claim: Claim
    result: ClaimResult
    shown: Shown
    cells: tuple[Verdict | None, ...]
    images: tuple[Image, ...]


def render(
    claims: Sequence[Claim],
    results: Sequence[ClaimResult],
    figures: Mapping[str, Sequence[tuple[str, bytes]]],
    provenance: Mapping[str, Any],
    profile: str,
) -> str:
    """Return the report as one self-contained HTML page.

    There is one result a claim, found by its name. ``figures`` maps the name of a claim to its pictures,
    each the name that ``plot.draw`` gives it and the bytes of its PNG. ``provenance`` has the keys
    ``PROVENANCE`` and any others. Raises ``ValueError`` when claims, results and pictures do not belong
    together, a picture is no PNG or provenance lacks a key.
    """
    _check(claims, results, figures, provenance)
    by_name = {result.claim: result for result in results}
    columns = fold.columns(results)
    if any(fold.others(result, columns).judged for result in results):
        columns += (OTHERS,)
    sections = [_section(claim, by_name[claim.name], figures.get(claim.name, ()), columns) for claim in claims]
    return _page().render(
        sections=sections,
        columns=columns,
        counts=Counter(section.result.verdict for section in sections),
        provenance={key: _plain(value) for key, value in provenance.items() if key != "wall_seconds"},
        when=_moment(provenance["started"]),
        took=words.duration(float(provenance["wall_seconds"])),
        profile=profile,
    )


def write_report(path: Path, html: str) -> None:
    """Write a page whole or not at all. Raises ``StoreError`` when it cannot be written."""
    write_atomically(path, html.encode())


def _check(
    claims: Sequence[Claim],
    results: Sequence[ClaimResult],
    figures: Mapping[str, Sequence[tuple[str, bytes]]],
    provenance: Mapping[str, Any],
) -> None:
    named, judged = [claim.name for claim in claims], [result.claim for result in results]
    if len(set(named)) != len(named) or sorted(named) != sorted(judged):
        raise ValueError(
            f"a report needs exactly one result a claim: got the claims {', '.join(sorted(named)) or '(none)'} "
            f"and results of {', '.join(sorted(judged)) or '(none)'}"
        )
    if strangers := sorted(set(figures) - set(named)):
        raise ValueError(f"there are pictures of {', '.join(strangers)}, which the report has no claim for")
    if missing := [key for key in PROVENANCE if key not in provenance]:
        raise ValueError(f"the provenance of a report lacks {', '.join(missing)}: give every key of PROVENANCE")


def _section(
    claim: Claim, result: ClaimResult, pictures: Sequence[tuple[str, bytes]], columns: Sequence[str]
) -> Section:
    own = [column for column in columns if column != OTHERS]
    parts = [ClaimResult(claim.name, result.of(name)) for name in own]
    parts += [fold.others(result, own)] * (len(columns) - len(own))
    return Section(
        # percent-encoded, so that it has no spaces and a link's fragment is the same text
        anchor="claim-" + quote(claim.name, safe=""),
        claim=claim,
        result=result,
        shown=fold.shown(result.judged),
        cells=tuple(part.verdict if part.judged else None for part in parts),
        images=tuple(_image(name, png, claim, result) for name, png in pictures),
    )


def _image(name: str, png: bytes, claim: Claim, result: ClaimResult) -> Image:
    if not png.startswith(_PNG):
        raise ValueError(f"picture {name!r} of claim {claim.name!r} is not a PNG; save it in that format")
    width, height = struct.unpack(">II", png[16:24])
    captions = {f"{claim.name}-{figure}": caption for figure, caption in CAPTIONS.items()}
    caption = captions.get(name, name)
    supported = sum(row.verdict is Verdict.SUPPORTED for row in result.judged)
    alt = (
        f"{caption.split('.')[0]}. Verdict on the claim: {result.verdict} ({supported} of {len(result.judged)} "
        "predictions supported; the numbers are in the table above)."
    )
    return Image(f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height, alt, caption)


def _page() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["hash"] = _hash
    environment.globals.update(words=words, absent=ABSENT, verdicts=tuple(Verdict))
    return environment.from_string(resources.files(__package__).joinpath("page.html").read_text("utf-8"))


def _hash(style: str) -> str:
    """Return what a Content-Security-Policy calls an inline style sheet: the digest of its text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(style).encode()).digest()).decode()


def _moment(text: str) -> str:
    """Write a moment given in ISO 8601 to the minute: ``2026-01-02 03:04 UTC``."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _plain(value: Any) -> str:
    """Write a value of the provenance in one line: ``numpy 2.1, torch 2.6`` for a mapping, ``unknown`` for None."""
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(part) for part in value)
    return str(value)
