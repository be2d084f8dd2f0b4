"""Writing a file whole or not at all.

The bytes go to a temporary file in the same directory, are synchronised to the disk, and get their name in
one step (``os.replace``). A process killed meanwhile leaves a temporary file, which a later write removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

LEFTOVER_SECONDS = 3600.0
"""A temporary file older than this belongs to nobody: writing one takes seconds."""

REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "the disk is full: free some space, or choose a directory on another disk",
    errno.EDQUOT: "your disk quota is used up: free some space, or choose a directory on another disk",
    errno.EROFS: "the file system is read-only: choose a directory that can be written",
    errno.EACCES: "permission is denied: choose a directory of your own, or change its permissions",
    errno.EPERM: "permission is denied: choose a directory of your own, or change its permissions",
    errno.ENOTDIR: "a part of the path is a file and not a directory: choose another directory",
    errno.EEXIST: "a part of the path is a file and not a directory: choose another directory",
    errno.EISDIR: "it is a directory where a file should be: move it away",
}

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})\.(?P<pid>[0-9]{1,9})\.[0-9a-f]{8}\.tmp")


class StoreError(Exception):
    """A file cannot be written or read for a reason outside this program; the message has the remedy."""


@contextmanager
def explain(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a ``StoreError`` that names the action, the path and the remedy.

    ``FileNotFoundError`` passes, since absence is an answer, and so do errors without a number, which come
    from the contents of a file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        remedy = REMEDIES.get(error.errno, f"{error.strerror}: see to it, or choose another directory")
        raise StoreError(f"cannot {action} {path}: {remedy}. Files already complete are unharmed") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers, and kills at any moment, see all of it or nothing of it.

    Makes the directory where there is none. Raises ``StoreError`` when that or the writing fails; an earlier
    file of the name is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    with explain("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _synchronise(path.parent)


def check_writable(directory: Path) -> None:
    """Make a directory and write to it, so that a run of hours does not find out at its end that it cannot.

    Raises ``StoreError``.
    """
    probe = directory / ".probe"
    write_atomically(probe, b"")
    probe.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes left: temporary files of dead processes of this machine, and old ones."""
    for path in directory.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        # Another process may remove it first, or it may be another user's: neither hinders the write.
        with suppress(OSError):
            dead = match["host"] == _HOST and not _is_alive(int(match["pid"]))
            if dead or time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists, and is another user's
        return True
    return True


def _synchronise(directory: Path) -> None:
    """Make a rename durable. Some network file systems cannot synchronise a directory, and say EINVAL."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
