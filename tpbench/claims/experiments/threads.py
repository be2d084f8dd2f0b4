"""Threads and devices of torch."""

from __future__ import annotations

import torch


def set_threads(threads: int) -> None:
    """Let torch use this many threads."""
    torch.set_num_threads(threads)


def resolve_device(name: str) -> str:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here; ``ValueError`` when there is none."""
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r} (known: auto, cpu, cuda)")
    if name == "cuda" and not available:
        raise ValueError("--device cuda was asked, but torch sees no CUDA device here: use --device auto or cpu")
    return name
