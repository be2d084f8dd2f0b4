"""Where numbers come from: the code, the packages and the machine that computed them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import tpbench

PACKAGES = ("torch", "numpy", "scipy", "pandas")
"""The packages on which the numbers depend."""

SOURCE = Path(tpbench.__file__).parent

GIT_SECONDS = 10.0


def provenance(device: str, dtype: str, threads: int, packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Return what a header says about the origin of its rows, as a JSON object.

    ``commit`` and ``dirty`` are None when the source does not lie in a git repository, the version of a package
    is None when it is not installed. Nothing is imported to find the versions out.
    """
    state = git_state(SOURCE)
    return {
        "tpbench": tpbench.__version__,
        "commit": state[0] if state else None,
        "dirty": state[1] if state else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": count_cores(),
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "started": now(),
    }


def now() -> str:
    """Return the time in UTC, in ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def count_cores() -> int:
    """Return how many cores this process may use, which a container may have made fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def git_state(source: Path) -> tuple[str, bool] | None:
    """Return the commit of a source directory and whether it differs from it; None where git does not know it.

    Asked once a process. A package installed inside somebody else's repository (in a virtual environment, say)
    is not part of it: its files must be tracked.
    """
    if not _git(source, "ls-files", "--", "."):
        return None
    commit, changes = _git(source, "rev-parse", "HEAD"), _git(source, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None
    return commit, bool(changes)


@cache
def cpu_model() -> str | None:
    """Return the processor's name, or None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _git(source: Path, *arguments: str) -> str | None:
    """Return what git answers, or None when there is no git or it refuses."""
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=source, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
