"""The 1,797 handwritten digits of 8×8 pixels that scikit-learn ships.

They are the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), UCI
Machine Learning Repository, doi:10.24432/C50P49. The file is read where scikit-learn is installed, without
importing scikit-learn: that import costs a second and the data need none of it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from tpbench.data.dataset import Dataset, digest_of, freeze, image_normalisation, normalise_images

SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
CLASSES = 10
BRIGHTEST = 16
NORMALISATION = image_normalisation(BRIGHTEST, "the set")


def load() -> Dataset:
    """Return the digits: 1,797 examples, 64 features, 10 classes.

    Raises ``FileNotFoundError`` when scikit-learn or its file is not installed, ``ValueError`` when the file
    is not the one this benchmark knows.
    """
    table = np.loadtxt(
        gzip.decompress(read_checked(bundled_file(), SHA256)).decode("ascii").splitlines(),
        delimiter=",",
        dtype=np.int64,
    )
    pixels = table[:, :-1].astype(np.uint8)
    return Dataset(
        name="digits",
        inputs=freeze(normalise_images(pixels, pixels, brightest=BRIGHTEST, name="digits")),
        labels=freeze(table[:, -1].copy()),
        classes=CLASSES,
        source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (1998), the test part, as "
        "shipped by scikit-learn; doi:10.24432/C50P49",
        licence="CC BY 4.0",
        normalisation=NORMALISATION,
        digest=digest_of(["digits", SHA256, NORMALISATION]),
    )


def bundled_file() -> Path:
    """Return the path of scikit-learn's file of digits.

    Raises ``FileNotFoundError`` when scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "the digits come with scikit-learn, which is not installed here; install it with `pip install scikit-learn`"
        )
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file whose sha256 must be the given one.

    Raises ``FileNotFoundError`` when there is no such file, ``ValueError`` when it has another digest.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"the digits were looked for in {path}, where there is no file; install scikit-learn again"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} has sha256 {found}, expected {sha256}: the file is damaged or another version; "
            "install a release of scikit-learn that ships the expected file"
        )
    return content
