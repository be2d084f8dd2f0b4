"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28×28 pixels, in 10 classes.

H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms, arXiv:1708.07747. The four files come with the Debian package ``dataset-fashion-mnist`` or from
the authors' repository. Digests are of the uncompressed content: the gzip headers of the two distributions
differ, and nothing else does.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tpbench.data.dataset import (
    Dataset,
    PixelArray,
    digest_of,
    freeze,
    image_normalisation,
    normalise_images,
)

VARIABLE = "TPBENCH_FASHION_MNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
BRIGHTEST = 255
NORMALISATION = image_normalisation(BRIGHTEST, "the training part")
UNSIGNED_BYTE = 0x08


class Files(NamedTuple):
    """The names of the two files of one part."""

    images: str
    labels: str


PARTS: Mapping[str, Files] = {
    "train": Files("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": Files("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}

SHA256: Mapping[str, str] = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the content of each file once uncompressed."""


def load(path: Path | str | None = None, part: str = "train", *, digests: Mapping[str, str] = SHA256) -> Dataset:
    """Return one part, "train" or "test", of Fashion-MNIST: 784 features, 10 classes.

    The four files are looked for in ``path``; without it in the directory that the environment variable
    TPBENCH_FASHION_MNIST names; without that where the Debian package puts them. Both parts are centred by
    the mean image of the training part. ``digests`` are the sha256 that the uncompressed files must have.

    Raises ``FileNotFoundError`` when a file is missing, ``ValueError`` when one is damaged or when there is
    no such part.
    """
    if part not in PARTS:
        raise ValueError(f"Fashion-MNIST has the parts {' and '.join(PARTS)}, not {part!r}")
    directory = find_directory(path)
    training_pixels = read_images(directory, PARTS["train"].images, digests)
    files = PARTS[part]
    pixels = training_pixels if part == "train" else read_images(directory, files.images, digests)
    labels = read_idx(read_checked(directory / files.labels, digests[files.labels]), 1, files.labels)
    used = (PARTS["train"].images, *files)
    return Dataset(
        name="fashion-mnist",
        inputs=freeze(normalise_images(pixels, training_pixels, brightest=BRIGHTEST, name="fashion-mnist")),
        labels=freeze(labels.astype(np.int64)),
        classes=CLASSES,
        source=f"Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747, {part} part",
        licence="MIT",
        normalisation=NORMALISATION,
        digest=digest_of(["fashion-mnist", part, *(digests[name] for name in used), NORMALISATION]),
    )


def find_directory(path: Path | str | None) -> Path:
    """Return the directory that holds the four files.

    Raises ``FileNotFoundError``, saying where it looked and what to do, when one of them is not there. A
    directory that the user named is the only one tried.
    """
    named = os.environ.get(VARIABLE)
    directory, reason = DEBIAN, "where the Debian package puts it"
    if path is not None:
        directory, reason = Path(path), "the path that was given"
    elif named:
        directory, reason = Path(named), f"the value of {VARIABLE}"
    missing = [name for files in PARTS.values() for name in files if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"Fashion-MNIST was looked for in {directory} ({reason}), which has no {', '.join(missing)}; "
            f"run `apt-get install dataset-fashion-mnist`, or set {VARIABLE} to the directory of the files"
        )
    return directory


def read_images(directory: Path, name: str, digests: Mapping[str, str]) -> PixelArray:
    """Return the images of one file as uint8 (examples, pixels).

    Raises what ``read_checked`` and ``read_idx`` raise.
    """
    images = read_idx(read_checked(directory / name, digests[name]), 3, name)
    return images.reshape(len(images), math.prod(images.shape[1:]))


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the uncompressed content of a gzip file, whose sha256 must be the given one.

    Raises ``ValueError`` naming the file when it cannot be uncompressed or has another digest.
    """
    remedy = "the file is damaged or another version; fetch it again"
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be uncompressed ({error}): {remedy}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"the content of {path} has sha256 {found}, expected {sha256}: {remedy}")
    return content


def read_idx(content: bytes, dimensions: int, name: str) -> PixelArray:
    """Return the read-only array of unsigned bytes that an idx file holds.

    An idx file is two zero bytes, a byte for the type (8 for unsigned bytes), a byte for the number of
    dimensions, each dimension as four bytes (most significant first), then the numbers, the last dimension
    running fastest. Raises ``ValueError`` naming the file when type, dimensions or length are not as it
    should be.
    """
    magic = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if content[:4] != magic:
        raise ValueError(
            f"{name} begins with the bytes {content[:4].hex(' ')}, expected {magic.hex(' ')}: it is no idx "
            f"file of unsigned bytes in {dimensions} dimensions"
        )
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{name} has {len(content)} bytes, but its header gives the shape {shape}, which needs {expected}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
