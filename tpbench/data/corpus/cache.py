"""Where fetched packages and assembled texts are kept, outside the repository, and how files get there whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "TPBENCH_CACHE"


class NotReadyError(ValueError):
    """A text is not on this machine, or not as it should be; the message says what to do."""


def cache_directory() -> Path:
    """Return the directory that TPBENCH_CACHE names, else XDG_CACHE_HOME/tpbench, else ~/.cache/tpbench."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "tpbench"


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Give an empty directory on the disk of ``path``, from which a finished file can be moved to it in one step.

    Makes the directory of ``path`` where there is none; the scratch directory is gone afterwards. Raises
    ``NotReadyError`` with the remedy when something cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as scratch:
            yield Path(scratch)
    except OSError as error:
        raise NotReadyError(
            f"{path} cannot be written ({error.strerror}): free some space there, or set {VARIABLE} to a directory "
            "that can be written"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or nothing of it. Raises ``NotReadyError`` when that fails."""
    with scratch_beside(path) as scratch:
        made = scratch / path.name
        with made.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
