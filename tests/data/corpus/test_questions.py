"""The analogy questions: their format, where they are found, and the real file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tpbench.data.corpus import questions
from tpbench.data.corpus.cache import NotReadyError
from tpbench.data.corpus.questions import MEMBER, cities_and_states, find_questions, parse

TEXT = ": capitals\nAthens Greece Oslo Norway\n\n: city-in-state\nDallas Texas Reno Nevada\n: nothing\n"

# Counted by grep in the file of gensim 4.4.0.
SIZES = (506, 4524, 866, 2467, 506, 992, 812, 1332, 1122, 1056, 1599, 1560, 1332, 870)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No gensim installed, and an empty cache in the temporary directory."""
    monkeypatch.setattr(questions, "gensim_directory", lambda: None)
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    return tmp_path


class TestParse:
    def test_sections_and_lowercased_questions(self) -> None:
        found = parse(TEXT)
        assert found == {
            "capitals": (("athens", "greece", "oslo", "norway"),),
            "city-in-state": (("dallas", "texas", "reno", "nevada"),),
            "nothing": (),
        }
        groups = cities_and_states(found)
        assert groups["cities"] == ("dallas", "reno")
        assert len(groups["states"]) == 50

    @pytest.mark.parametrize("wrong", [": a\nb c d", "a b c d", ": a\nb c d e f", ": two words\n"])
    def test_other_lines_are_refused(self, wrong: str) -> None:
        with pytest.raises(ValueError, match=r"line [12] of the analogy questions"):
            parse(wrong)


class TestFind:
    def test_the_real_questions(self) -> None:
        if questions.gensim_directory() is None:
            pytest.skip("gensim is not installed: the real questions are not read")
        found = find_questions()
        assert tuple(map(len, found.values())) == SIZES
        assert sum(SIZES) == 19_544
        words = {word for asked in found.values() for question in asked for word in question}
        assert not {word for word in words if not word.replace("-", "").isalpha()}
        assert len(cities_and_states(found)["cities"]) == 67

    def test_a_wheel_in_the_cache_will_do(self, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import hashlib

        monkeypatch.setattr(questions, "SHA256", hashlib.sha256(TEXT.encode()).hexdigest())
        (nowhere / "packages").mkdir()
        for name, content in (
            ("gensim-4.wheel", "no"),
            ("gensim-4.4.0-a.whl", "damaged"),
            ("gensim-4.4.0-b.whl", TEXT),
        ):
            with zipfile.ZipFile(nowhere / "packages" / name, "w") as archive:
                archive.writestr(MEMBER, content)
        assert find_questions() == parse(TEXT)
        (nowhere / "packages" / "gensim-4.4.0-b.whl").unlink()
        with pytest.raises(NotReadyError, match=r"gensim-4.4.0-a.whl has another digest"):
            find_questions()

    def test_without_gensim_the_remedy_is_told(self, nowhere: Path) -> None:
        with pytest.raises(NotReadyError, match=r"pip install gensim`, or `tpbench data prepare packaged`"):
            find_questions()

    def test_the_installed_questions_are_checked(self, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = nowhere / "site" / MEMBER
        path.parent.mkdir(parents=True)
        path.write_text(TEXT)
        monkeypatch.setattr(questions, "gensim_directory", lambda: nowhere / "site" / "gensim")
        with pytest.raises(NotReadyError, match=r"questions-words\.txt has another digest"):
            find_questions()
