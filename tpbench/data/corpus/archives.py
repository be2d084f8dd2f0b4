"""Reading members of the archives that package registries hand out: wheels, npm tarballs, Debian packages."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

Member = tuple[str, bytes]

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60


def wheel(path: Path, pattern: str) -> Iterator[Member]:
    """Yield name and content of the members of a wheel whose names match, by name."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if PurePosixPath(name).match(pattern):
                yield name, archive.read(name)


def tarball(path: Path, pattern: str) -> Iterator[Member]:
    """Yield name and content of the files of a tar archive whose names match, by name."""
    yield from _tar(path.read_bytes(), pattern)


def debian(path: Path, pattern: str) -> Iterator[Member]:
    """Yield name and content of the files that a Debian package installs whose names match, by name.

    A Debian package is an ``ar`` archive whose member ``data.tar.*`` holds the files; no Debian tool is needed.
    Raises ``ValueError`` when it is no such archive.
    """
    content = path.read_bytes()
    at = len(_AR_MAGIC)
    while content.startswith(_AR_MAGIC) and at + _AR_HEADER <= len(content):
        header = content[at : at + _AR_HEADER]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        at += _AR_HEADER
        if name.startswith("data.tar"):
            yield from _tar(content[at : at + size], pattern)
            return
        at += size + size % 2
    raise ValueError(f"{path} is no Debian package: it has no member data.tar; fetch it again")


def _tar(content: bytes, pattern: str) -> Iterator[Member]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if member.isfile() and PurePosixPath(member.name).match(pattern):
                file = archive.extractfile(member)
                assert file is not None  # it is a regular file
                yield member.name, file.read()
