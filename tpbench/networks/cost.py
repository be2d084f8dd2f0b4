"""What a training step costs: seconds, bytes, and the machine's own matrix-product rate beside them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tpbench.networks.mlp import Mlp


def wait_for(device: torch.device) -> None:
    """Wait until the device has done its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the least wall time in seconds of ``repeats`` calls, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def matmul_rate(device: torch.device, dtype: torch.dtype, *, size: int = 1024, repeats: int = 5) -> float:
    """Return this machine's floating-point operations a second in a square ``torch.mm`` of the given size."""
    a = torch.full((size, size), 0.5, device=device, dtype=dtype)
    out = torch.empty_like(a)
    return 2 * size**3 / fastest(lambda: torch.mm(a, a, out=out), device, repeats)


def step_operations(mlp: Mlp, batch: int) -> int:
    """Return the floating-point operations of the matrix products of one SGD step of one network.

    A layer takes three products of 2 · batch · fan_in · fan_out: forward, weight gradient, and the backward signal,
    which the first layer does not need.
    """
    products = [(2 if layer == 1 else 3) * mlp.fan(layer)[0] * mlp.fan(layer)[1] for layer in mlp.layers]
    return 2 * batch * sum(products)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every tensor storage that is created while it is active, until the storage dies."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What an operation changes in place or views was there before it, whoever made it.
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in given:
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most bytes of tensors that were alive at once in those that ``work`` created.

    Counted at torch's dispatcher, so it is exact and the same on every device and run; memory that an operation
    takes and returns inside itself is not seen.
    """
    counter = _LiveBytes()
    with counter:
        work()
    return counter.peak
