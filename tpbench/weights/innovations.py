"""Where lazy Gaussian weights get fresh N(0, 1) vectors: independent draws, or scrambled Sobol' points.

A vector lives on an *axis*, the n neurons of one layer; each drawn vector is one *dimension* of that axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.weights.sobol import MAXDIM, SobolAxis, bit_stream

# Neurons that share one Monte Carlo stream: fixed, so that the numbers do not depend on how many threads draw them.
_CHUNK = 1 << 15

# Below about a millisecond of drawing, starting threads costs more than they save.
_WORTH_THREADS = 1 << 17


class Innovations(Protocol):
    """A source of fresh standard normal vectors, the same for a seed whatever its companions."""

    seeds: tuple[int, ...]
    """The leading axis of every draw."""

    def draw(
        self, axis: str, count: int, size: int, *, dtype: torch.dtype, device: torch.device, out: Tensor | None = None
    ) -> Tensor:
        """Return the next ``count`` dimensions of an axis of ``size`` neurons: N(0, 1), shape (seed, count, size).

        ``out``, of that shape, type and device and strided in any way, receives them if given. Drawing 3 and then 2
        dimensions gives what drawing 5 gives. Single precision is double precision, rounded. On the meta device
        nothing is drawn but the count. Raises ValueError for another size than the axis had before, and for an
        ``out`` that does not fit.
        """

    def drawn(self, axis: str) -> int:
        """Return how many dimensions of the axis have been drawn so far."""


class _Counted:
    """What both sources share: it checks what is asked for and counts the dimensions of every axis.

    ``seeds`` is the leading axis of every draw; a number is a single seed.
    """

    def __init__(self, seeds: int | Sequence[int]) -> None:
        seeds = (seeds,) if isinstance(seeds, int) else seeds
        if not seeds:
            raise ValueError("a source draws for at least one seed, got none")
        if min(seeds) < 0:
            raise ValueError(f"a seed is a whole number from 0, got {min(seeds)}")
        self.seeds = tuple(seeds)
        self._sizes: dict[str, int] = {}
        self._drawn: dict[str, int] = {}

    def drawn(self, axis: str) -> int:
        """Return how many dimensions of the axis have been drawn so far."""
        return self._drawn.get(axis, 0)

    def draw(
        self, axis: str, count: int, size: int, *, dtype: torch.dtype, device: torch.device, out: Tensor | None = None
    ) -> Tensor:
        """Return the next ``count`` dimensions of an axis, as ``Innovations.draw`` says."""
        if count < 0 or size < 1:
            raise ValueError(f"axis {axis!r} was asked for {count} dimensions of {size} neurons: from 0, and from 1")
        if self._sizes.get(axis, size) != size:
            had = self._sizes[axis]
            raise ValueError(f"axis {axis!r} has {had} neurons and was asked for {size}: another size is another axis")
        shape = (len(self.seeds), count, size)
        if out is None:
            out = torch.empty(shape, dtype=dtype, device=device)
        elif tuple(out.shape) != shape or out.dtype != dtype or out.device.type != device.type:
            came = f"{tuple(out.shape)}, {out.dtype} on {out.device}"
            raise ValueError(f"axis {axis!r} gives {shape}, {dtype} on {device}, but `out` is {came}")
        if count > 0 and not out.is_meta:
            self._fill_(axis, self.drawn(axis), out.detach())
        self._sizes[axis] = size
        self._drawn[axis] = self.drawn(axis) + count
        return out

    def _fill_(self, axis: str, first: int, out: Tensor) -> None:
        raise NotImplementedError


class MonteCarlo(_Counted):
    """Independent draws: with them lazy weights have exactly the law of dense ones.

    They are drawn on the CPU whatever the device, so that every device sees the same network.
    """

    def __init__(self, seeds: int | Sequence[int]) -> None:
        super().__init__(seeds)
        self._streams: dict[str, list[list[np.random.Generator]]] = {}

    def _fill_(self, axis: str, first: int, out: Tensor) -> None:
        if axis not in self._streams:
            chunks = range(-(-out.shape[2] // _CHUNK))
            self._streams[axis] = [
                [np.random.Generator(bit_stream(seed, axis, "normal", chunk)) for chunk in chunks]
                for seed in self.seeds
            ]
        if out.device.type == "cpu" and out.dtype in (torch.float64, torch.float32):
            _draw_normals_(self._streams[axis], out.numpy())
        else:
            drawn = np.empty(out.shape)
            _draw_normals_(self._streams[axis], drawn)
            out.copy_(torch.from_numpy(drawn))


class Sobol(_Counted):
    """Scrambled Sobol' points: neuron i is point i, the j-th vector of an axis is dimension j.

    Averages over the neurons of an axis then have much smaller errors than with independent draws, and no bias: the
    same lazy weights integrate the limit of infinite width. Every seed is one independent scramble of every axis, so
    that the spread over seeds is the error. All axes have the same direction numbers under different scrambles: only
    vectors of one axis may meet neuron by neuron. ``period`` is for tests (see ``SobolAxis``).
    """

    def __init__(self, seeds: int | Sequence[int], *, period: int = MAXDIM) -> None:
        super().__init__(seeds)
        self._period = period
        self._points: dict[str, SobolAxis] = {}

    def _fill_(self, axis: str, first: int, out: Tensor) -> None:
        if axis not in self._points:
            self._points[axis] = SobolAxis(self.seeds, axis, period=self._period)
        self._points[axis].normals_(first, out)


def _draw_normals_(streams: list[list[np.random.Generator]], out: NDArray[Any]) -> None:
    """Fill ``out`` (seed, count, size) from a stream a seed and a chunk of neurons, on as many threads as torch has."""
    work = [
        (stream, rows[:, chunk * _CHUNK : (chunk + 1) * _CHUNK])
        for own, rows in zip(streams, out, strict=True)
        for chunk, stream in enumerate(own)
    ]
    threads = torch.get_num_threads()
    if threads == 1 or len(work) == 1 or out.size < _WORTH_THREADS:
        _draw_blocks_(work)
        return
    with ThreadPoolExecutor(threads) as pool:
        # More parts than threads, since a thread that shares its core is late.
        list(pool.map(_draw_blocks_, [work[part :: 8 * threads] for part in range(8 * threads)]))


def _draw_blocks_(work: list[tuple[np.random.Generator, NDArray[Any]]]) -> None:
    for stream, block in work:
        if block.dtype == np.float64 and block.flags.c_contiguous:
            stream.standard_normal(out=block)
            continue
        for row in block:
            if row.dtype == np.float64 and row.flags.c_contiguous:
                stream.standard_normal(out=row)
            else:
                row[:] = stream.standard_normal(len(row))
