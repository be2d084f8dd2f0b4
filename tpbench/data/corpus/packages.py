"""Fetching one file of a package registry with the registry's own client: pinned, without dependencies, checked.

pip, apt-get and npm know the proxies, mirrors and credentials of the machine they run on, so nothing here does. A
file that is already there with the right digest is never fetched again; where a client is missing, a user can put
the file in its place by hand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tpbench.data.corpus.cache import NotReadyError, file_digest, scratch_beside

Run = Callable[[list[str], Path], "subprocess.CompletedProcess[str]"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """One file of a registry: ``client`` is a key of ``CLIENTS``; ``file`` is the name that the client gives it.

    ``options`` go to the client before the package's name, where the registry holds several files of a version.
    """

    client: str
    name: str
    version: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Client:
    """How one client is called: the words before options and package, what joins name and version, where it is from."""

    words: tuple[str, ...]
    joint: str
    remedy: str


CLIENTS: Mapping[str, Client] = {
    "pip": Client(
        (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest=."),
        "==",
        "run `python -m ensurepip` to get pip",
    ),
    "apt-get": Client(("apt-get", "download"), "=", "use a Debian of the suite that has this version"),
    "npm": Client(("npm", "pack", "--ignore-scripts"), "@", "install Node.js's npm (on Debian: `apt-get install npm`)"),
}


def run_client(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a client in a directory and return how it ended. Raises ``FileNotFoundError`` when it is not installed."""
    return subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def fetch(package: Package, directory: Path, run: Run = run_client, tell: Tell = lambda _: None) -> Path:
    """Return the package's file in ``directory``, fetched unless it is there with the right digest.

    Raises ``NotReadyError``, with the remedy, when the client is missing or fails, or when what it brings has another
    digest, or when the directory cannot be written; an earlier file of that name is then untouched.
    """
    path = directory / package.file
    if path.is_file() and file_digest(path) == package.sha256:
        return path
    tell(f"{package.client}: {package.name} {package.version}")
    with scratch_beside(path) as scratch:
        _fetched(package, scratch, path, run).replace(path)
    return path


def _fetched(package: Package, scratch: Path, path: Path, run: Run) -> Path:
    client = CLIENTS[package.client]
    by_hand = f"; or put {package.file} (sha256 {package.sha256}) into {path.parent} yourself"
    words = [*client.words, *package.options, f"{package.name}{client.joint}{package.version}"]
    what = f"{package.name} {package.version} was asked of {package.client}"
    try:
        ended = run(words, scratch)
    except FileNotFoundError as error:
        raise NotReadyError(f"{what}, which is not on this machine: {client.remedy}{by_hand}") from error
    except OSError as error:
        raise NotReadyError(f"{what}, which cannot be run ({error.strerror}): {client.remedy}{by_hand}") from error
    if ended.returncode != 0:
        said = " ".join((ended.stderr or ended.stdout).split())[-400:] or "it said nothing"
        raise NotReadyError(
            f"{what}, which ended with status {ended.returncode} ({said}). The version may be gone from the registry "
            f"or the suite, the registry out of reach, or the client not whole: see that `{' '.join(words)}` works, "
            f"or {client.remedy}{by_hand}"
        )
    found = sorted(file.name for file in scratch.iterdir())
    if found != [package.file]:
        raise NotReadyError(f"{what}, which brought {found or 'nothing'} instead of {package.file}{by_hand}")
    digest = file_digest(scratch / package.file)
    if digest != package.sha256:
        raise NotReadyError(
            f"{what}, which brought a file with sha256 {digest}, expected {package.sha256}: the file was changed "
            f"under its version or damaged on the way; try again, look at the registry's own digest{by_hand}"
        )
    return scratch / package.file
