"""The report, read as text, as a tree of elements, and by a browser."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from chromium import CHROMIUM, Browser, browse
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import (
    PROFILES,
    Claim,
    ClaimResult,
    Estimate,
    Figure,
    Judged,
    Kind,
    Prediction,
    Sweep,
    Verdict,
)
from tpbench.bench.report import CAPTIONS, PROVENANCE, render, write_report

HOSTILE = '<script>alert("1")</script> & <img src=http://example.org/x>'
RUN = {
    "started": "2026-01-02T03:04:05+00:00",
    "wall_seconds": 185.2,
    "commit": "0123abc",
    "dirty": False,
    "packages": {"numpy": "2.1", "torch": "2.6"},
    "device": "cpu",
    "threads": 1,
    "seeds": [0, 1, 2],
}
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Tree(HTMLParser):
    """The elements of a page with their attributes, and the text of each; unbalanced tags raise."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.paths: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.paths.append(self.path + "/" + tag)
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text.append((self.path, data))

    @property
    def path(self) -> str:
        return "/".join(f"{tag}#{attrs['id']}" if "id" in attrs else tag for tag, attrs in self.open)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def words(self, within: str = "") -> str:
        return " ".join("".join(data for path, data in self.text if within in path).split())


def make_claim(name: str, **changes: Any) -> Claim:
    sweep = Sweep(("muP",), (64,), (4,), {})
    claim = Claim(
        name=name,
        statement=f"Statement of {name}.",
        source="Yang & Hu 2021, https://arxiv.org/abs/2011.14522",
        rival=f"Rival of {name}",
        experiment="mlp",
        sweeps=dict.fromkeys(PROFILES, sweep),
        predict=lambda config: (),
        faults=(),
        figures=(Figure.EXPONENTS,),
    )
    return replace(claim, **changes)


def judge(parametrization: str, verdict: Verdict, value: float = 0.49, **changes: Any) -> Judged:
    theory = Prediction(parametrization, "weight-update", Kind.EXPONENT, 0.5, 0.0, 0.1, layer=2, step=5)
    estimate = Estimate(replace(theory, **changes), value, 0.01, 9, value - 0.03, value + 0.03, (64, 128), "a note")
    return Judged(estimate, verdict)


def png(width: float = 2) -> bytes:
    buffer = io.BytesIO()
    Picture(figsize=(width, 1)).savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def synthetic() -> tuple[list[Claim], list[ClaimResult], dict[str, list[tuple[str, bytes]]]]:
    claims = [make_claim("feature-movement"), make_claim(HOSTILE), make_claim("no-rows", notes="A note on this claim.")]
    results = [
        ClaimResult("no-rows", (), note="Every run diverged."),
        ClaimResult("feature-movement", (judge("muP", Verdict.SUPPORTED), judge("NTP", Verdict.REFUTED))),
        ClaimResult(HOSTILE, (judge("muP", Verdict.SUPPORTED), judge("muP", Verdict.INCONCLUSIVE, math.nan))),
    ]
    figures = {
        "feature-movement": [("feature-movement-exponents", png()), ("feature-movement-cost", png(3))],
        HOSTILE: [(f"{HOSTILE}-trajectories", png())],
    }
    return claims, results, figures


@pytest.fixture(scope="module")
def page() -> str:
    return render(*synthetic(), RUN, "nightly")


@pytest.fixture(scope="module")
def tree(page: str) -> Tree:
    return Tree(page)


def test_has_one_row_a_claim_in_order(tree: Tree) -> None:
    rows = [path for path in tree.paths if path.endswith("tbody#claims/tr")]
    assert len(rows) == 3
    text = tree.words("tbody#claims")
    places = [text.index(f"Statement of {name}.") for name in ("feature-movement", HOSTILE, "no-rows")]
    assert places == sorted(places)


def test_headline_counts_the_verdicts(tree: Tree) -> None:
    words = tree.words("header")
    assert "3 claims: 0 ✓ supported, 2 ? inconclusive, 1 ✗ refuted." in words
    assert "Profile nightly; run of 2026-01-02 03:04 UTC; took 3 min 5 s." in words


def test_matrix_has_the_worst_verdict_of_each_parametrization(page: str) -> None:
    matrix = page[page.index('<table class="matrix">') : page.index("</table>")]
    rows = [re.findall(r'<td(?: class="(\w+)")?>', row) for row in matrix.split("<tr>")[2:]]
    assert re.findall(r'<th scope="col">(\w+)', matrix) == ["Claim", "muP", "NTP"]
    assert rows == [["supported", "refuted"], ["inconclusive", ""], ["", ""]]
    assert [re.findall("[✓✗?]</span>", row) for row in matrix.split("<tr>")[2:]] == [
        ["✓</span>", "✗</span>"],
        ["?</span>"],
        [],
    ]


def test_every_inner_link_has_its_target(tree: Tree) -> None:
    targets = [attrs["id"] for _, attrs in tree.elements if "id" in attrs]
    assert len(targets) == len(set(targets))
    links = {str(attrs["href"]) for attrs in tree.all("a")}
    assert {link.removeprefix("#") for link in links} <= set(targets)
    assert all(link.startswith("#") for link in links)
    assert f"#claim-{HOSTILE}" in {unquote(link) for link in links}


def test_estimates_are_written_out(tree: Tree) -> None:
    words = tree.words("article#claim-feature-movement")
    row = "own weight update ΔW x exponent of the size 2 5 1/2 0 0.49 [0.46, 0.52] ✓ supported a note"
    for part in ("Statement of", "Yang & Hu 2021", "Rival of feature-movement"):
        assert part in words
    table = tree.words("article#claim-feature-movement/div/table/tbody")
    assert re.sub(r"\W", "", row) in re.sub(r"\W", "", table)


def test_missing_estimates_and_notes_are_said(tree: Tree) -> None:
    assert "no estimate" in tree.words("article#claim-%3Cscript")
    words = tree.words("article#claim-no-rows")
    assert "Nothing was estimated for this claim." in words
    assert "A note on this claim." in words
    assert "Every run diverged." in words


def test_pictures_travel_inside_with_alternative_texts(tree: Tree) -> None:
    images = tree.all("img")
    assert [image["width"] for image in images] == ["200", "300", "200"]
    for image in images:
        assert str(image["src"]).startswith("data:image/png;base64,")
        assert "Verdict on the claim" in str(image["alt"])
    captions = [CAPTIONS[figure] for figure in (Figure.EXPONENTS, Figure.COST, Figure.TRAJECTORIES)]
    assert [data for path, data in tree.text if path.endswith("figcaption")] == captions


def test_nothing_refers_to_the_outside(tree: Tree, page: str) -> None:
    for tag, attrs in tree.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        for name, value in attrs.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href", "srcset", "action", "poster"):
                assert str(value).startswith(("#", "data:"))
    style = "".join(data for path, data in tree.text if path.endswith("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert tree.words("dd").count("https://arxiv.org/abs/2011.14522") == 3  # as text, which is no reference


def test_everything_is_escaped() -> None:
    claim = make_claim("x", statement=HOSTILE, source=HOSTILE, rival=HOSTILE, notes=HOSTILE)
    estimate = judge(HOSTILE, Verdict.SUPPORTED, quantity=HOSTILE).estimate
    result = ClaimResult("x", (Judged(replace(estimate, note=HOSTILE), Verdict.SUPPORTED),), note=HOSTILE)
    hostile = {**RUN, "commit": HOSTILE, HOSTILE: HOSTILE}
    page = render([claim], [result], {"x": [(HOSTILE, png())]}, hostile, HOSTILE)
    assert "<script" not in page
    assert "<img src=http" not in page
    assert Tree(page).words().count(HOSTILE) >= 10


def test_headings_descend_one_level_at_a_time(tree: Tree) -> None:
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_scopes(tree: Tree) -> None:
    tables = sum(tag == "table" for tag, _ in tree.elements)
    assert len(tree.all("caption")) == tables == 4
    assert all("scope" in attrs for attrs in tree.all("th"))
    assert tree.all("html") == [{"lang": "en"}]


def test_provenance_comes_last(tree: Tree) -> None:
    words = tree.words("footer")
    assert "packagesnumpy 2.1, torch 2.6" in words
    assert "dirtyno" in words
    assert "seeds0, 1, 2" in words
    assert words.endswith("wall time3 min 5 s")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c, r, f: (c, r[1:], f, RUN), "exactly one result a claim"),
        (lambda c, r, f: (c[1:], r, f, RUN), "exactly one result a claim"),
        (lambda c, r, f: (c + c[:1], r + r[1:2], f, RUN), "exactly one result a claim"),
        (lambda c, r, f: (c, r, {"other": []}, RUN), "pictures of other"),
        (lambda c, r, f: (c, r, {"no-rows": [("a", b"<svg/>")]}, RUN), "'a' of claim 'no-rows' is not a PNG"),
        *[
            (lambda c, r, f, key=key: (c, r, f, {k: v for k, v in RUN.items() if k != key}), f"lacks {key}")
            for key in PROVENANCE
        ],
    ],
)
def test_what_does_not_belong_together_is_refused(spoil: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(*spoil(*synthetic()), "nightly")


def test_report_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, "η")
    write_report(path, "n → ∞")
    assert path.read_text("utf-8") == "n → ∞"
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


# --- in a browser ---

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the report with")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browse(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def requested(browser: Browser) -> list[str]:
    """Return what the page asked for, apart from itself and what it holds."""
    urls = [event["request"]["url"] for event in browser.of("Network.requestWillBeSent")]
    return [url for url in urls if not url.startswith(("file:", "data:"))]


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_browser_shows_the_page(browser: Browser, page: str, tmp_path: Path, width: int, scheme: str) -> None:
    write_report(tmp_path / "report.html", page)
    browser.visit(tmp_path / "report.html", width, scheme)
    assert browser.evaluate("document.querySelectorAll('#claims tr').length") == 3
    sizes = browser.evaluate(
        "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert sizes == [200, 300, 200]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the page itself scrolls sideways"
    ink, paper = browser.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        ".map(colour => colour.match(/\\d+/g).map(Number).reduce((a, b) => a + b))"
    )
    assert (ink < 200 and paper > 700) if scheme == "light" else (ink > 600 and paper < 100), "the style applies"
    assert requested(browser) == []
    assert browser.of("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown") == []


@needs_browser
@pytest.mark.parametrize(
    "smuggled",
    [
        "<script>console.log('ran')</script>",
        "<style>p { color: red }</style>",
        "<img src='http://127.0.0.1:9/pixel.png'>",
        "<link rel=stylesheet href='http://127.0.0.1:9/style.css'>",
    ],
)
def test_policy_stops_what_would_be_smuggled_in(browser: Browser, page: str, tmp_path: Path, smuggled: str) -> None:
    write_report(tmp_path / "report.html", page.replace("</main>", smuggled + "</main>"))
    browser.visit(tmp_path / "report.html", 1280)
    complaints = [event["entry"]["text"] for event in browser.of("Log.entryAdded")]
    assert len(complaints) == 1
    assert "Content Security Policy" in complaints[0]
    assert browser.of("Runtime.consoleAPICalled") == []
