"""Fashion-MNIST: the idx format and the faults of a directory on tiny files, then the real files."""

from __future__ import annotations

import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.data import fashion_mnist
from tpbench.data.dataset import PixelArray
from tpbench.data.fashion_mnist import PARTS, load, read_idx

SIZES = {"train": 12, "test": 5}


def idx(array: PixelArray) -> bytes:
    dimensions = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + dimensions + array.tobytes()


def tiny(part: str) -> tuple[PixelArray, PixelArray]:
    """Random images of 3×2 pixels and their labels."""
    generator = np.random.default_rng(SIZES[part])
    images = generator.integers(0, 256, (SIZES[part], 3, 2)).astype(np.uint8)
    return images, (np.arange(SIZES[part]) % 10).astype(np.uint8)


def write(path: Path, content: bytes) -> dict[str, str]:
    path.write_bytes(gzip.compress(content))
    return {path.name: hashlib.sha256(content).hexdigest()}


@pytest.fixture
def digests(tmp_path: Path) -> dict[str, str]:
    """The digests of a tiny Fashion-MNIST, written in the temporary directory."""
    found: dict[str, str] = {}
    for part, files in PARTS.items():
        for name, array in zip(files, tiny(part), strict=True):
            found |= write(tmp_path / name, idx(array))
    return found


class TestReadIdx:
    @given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 9))
    def test_what_was_written_is_read(self, shape: list[int], seed: int) -> None:
        array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
        np.testing.assert_array_equal(read_idx(idx(array), len(shape), "file"), array)

    @pytest.mark.parametrize("at", range(4))
    def test_every_byte_of_the_magic_number_counts(self, at: int) -> None:
        content = bytearray(idx(tiny("train")[0]))
        content[at] += 1
        with pytest.raises(ValueError, match=r"file begins with the bytes .* expected 00 00 08 03"):
            read_idx(bytes(content), 3, "file")

    def test_every_truncation_and_every_excess_is_rejected(self) -> None:
        content = idx(tiny("test")[0])
        for wrong in (*(content[:length] for length in range(len(content))), content + b"\0"):
            with pytest.raises(ValueError, match=r"file begins with|file has"):
                read_idx(wrong, 3, "file")

    def test_a_header_that_promises_more_is_rejected(self) -> None:
        array = tiny("train")[1]
        content = idx(array)[:4] + (2**32 - 1).to_bytes(4, "big") + array.tobytes()
        with pytest.raises(ValueError, match=rf"has {len(content)} bytes.*\(4294967295,\)"):
            read_idx(content, 1, "file")


class TestLoad:
    @pytest.mark.parametrize("part", PARTS)
    def test_both_parts_are_centred_by_the_training_part(
        self, tmp_path: Path, digests: dict[str, str], part: str
    ) -> None:
        dataset = load(tmp_path, part, digests=digests)
        images, labels = tiny(part)
        centred = (images / 255 - (tiny("train")[0] / 255).mean(axis=0)).reshape(SIZES[part], 6)
        expected = centred * math.sqrt(6) / np.linalg.norm(centred, axis=1, keepdims=True)
        np.testing.assert_allclose(dataset.inputs, expected, rtol=1e-12)
        assert dataset.labels is not None
        assert (dataset.labels == labels).all()

    def test_the_digest_follows_part_and_files(self, tmp_path: Path, digests: dict[str, str]) -> None:
        before = {load(tmp_path, part, digests=digests).digest for part in PARTS}
        name = PARTS["train"].images
        digests |= write(tmp_path / name, idx(255 - tiny("train")[0]))
        after = {load(tmp_path, part, digests=digests).digest for part in PARTS}
        assert len(before | after) == 4

    def test_the_variable_names_the_directory_and_the_argument_wins(
        self, tmp_path: Path, digests: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TPBENCH_FASHION_MNIST", str(tmp_path))
        assert load(digests=digests).examples == SIZES["train"]
        monkeypatch.setenv("TPBENCH_FASHION_MNIST", str(tmp_path / "absent"))
        assert load(tmp_path, digests=digests).examples == SIZES["train"]
        with pytest.raises(FileNotFoundError, match=r"absent \(the value of TPBENCH_FASHION_MNIST\)"):
            load(digests=digests)

    def test_a_missing_file_is_named_with_the_remedy(self, tmp_path: Path, digests: dict[str, str]) -> None:
        name = PARTS["train"].labels
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError) as error:
            load(tmp_path, digests=digests)
        for words in (str(tmp_path), name, "apt-get install dataset-fashion-mnist", "TPBENCH_FASHION_MNIST"):
            assert words in str(error.value)
        assert PARTS["train"].images not in str(error.value)

    @pytest.mark.parametrize("name", [*PARTS["train"], *PARTS["test"]])
    def test_a_damaged_file_is_named(self, tmp_path: Path, digests: dict[str, str], name: str) -> None:
        path = tmp_path / name
        part = "train" if name in PARTS["train"] else "test"
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xFF
        for content in (whole[:-1], whole[: len(whole) // 2], b"", b"no gzip file", bytes(flipped)):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=name):
                load(tmp_path, part, digests=digests)
        path.write_bytes(whole)
        assert load(tmp_path, part, digests=digests).examples == SIZES[part]

    def test_other_content_is_rejected_with_both_digests(self, tmp_path: Path, digests: dict[str, str]) -> None:
        name = PARTS["train"].labels
        changed = write(tmp_path / name, idx(tiny("train")[1][::-1].copy()))
        with pytest.raises(ValueError, match=f"{name} has sha256 {changed[name]}, expected {digests[name]}"):
            load(tmp_path, digests=digests)

    def test_another_compression_of_the_same_content_is_accepted(self, tmp_path: Path, digests: dict[str, str]) -> None:
        before = load(tmp_path, digests=digests)
        for path in tmp_path.iterdir():
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0, mtime=1))
        assert load(tmp_path, digests=digests).digest == before.digest

    def test_as_many_labels_as_images(self, tmp_path: Path, digests: dict[str, str]) -> None:
        digests |= write(tmp_path / PARTS["train"].labels, idx(tiny("train")[1][:-1]))
        with pytest.raises(ValueError, match=r"labels must be int64 of shape \(12,\)"):
            load(tmp_path, digests=digests)

    def test_an_unknown_part_is_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="the parts train and test, not 'validation'"):
            load(tmp_path, "validation")


@pytest.mark.parametrize(("part", "a_class"), [("train", 6000), ("test", 1000)])
def test_the_real_files(part: str, a_class: int) -> None:
    try:
        fashion_mnist.find_directory(None)
    except FileNotFoundError as missing:
        pytest.skip(f"the real Fashion-MNIST is NOT tested: {missing}")
    dataset = load(part=part)
    assert dataset.inputs.shape == (10 * a_class, 28 * 28)
    assert dataset.labels is not None
    assert np.bincount(dataset.labels).tolist() == [a_class] * 10
    squares = np.einsum("ef,ef->e", dataset.inputs, dataset.inputs)
    np.testing.assert_allclose(squares, 784, rtol=1e-13)
