"""Running PyTorch code at one width under a dispatch mode that writes down every operation, backward passes included.

Operations that no rule knows are taken apart by PyTorch's own decompositions. Storage is tracked, so that a tensor
that PyTorch makes behind the mode's back (``nn.Parameter``, saved tensors) is found to be an alias.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from tpbench.programs.tracing.noun import ALIAS, Op, Recording, Ref, TraceError

RANDOM = frozenset(
    {"normal", "uniform", "randn", "rand", "randn_like", "rand_like", "bernoulli", "randint", "randperm", "multinomial"}
    | {"exponential", "random", "log_normal", "cauchy", "geometric", "randint_like", "poisson", "native_dropout"}
)
KEPT = 4096
"""Numbers of a tensor up to which its values are kept, even where they are likely to be random."""
INSIDE = ("torch.", "tpbench.programs.tracing", "contextlib", "functools", "importlib")


def record(
    make: Callable[[int], nn.Module], run: Callable[[Any], Any], width: int, seed: int, known: Collection[str]
) -> Recording:
    """Return what ``run(make(width))`` did. Torch's global generator is seeded here, and afterwards as it was.

    Raises ``TraceError`` where the code reads a random number into Python, and for outputs that are no tensors.
    """
    recorder = Recorder(width, known)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        with recorder:
            model = make(width)
            if isinstance(model, nn.Module):
                for name, parameter in model.named_parameters():
                    recorder.recording.named[name] = recorder.ref(parameter)
            recorder.recording.built = len(recorder.recording.ops)
            results = run(model)
            for name, tensor in _results(results).items():
                recorder.recording.asked[name] = recorder.ref(tensor)
                recorder.recording.found[name] = _numbers(tensor)
    return recorder.recording


def _results(results: Any) -> dict[str, Tensor]:
    named = results if isinstance(results, Mapping) else {"out": results}
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise TraceError(
                f"run returned {type(value).__name__} for {name!r}: return a tensor, or a dict of tensors by name; "
                "a number that was read by .item() is no longer part of the computation"
            )
    if not named:
        raise TraceError("run returned no tensors: return what is asked, a tensor or a dict of tensors by name")
    return {str(name): value for name, value in named.items()}


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode; ``recording`` fills as code runs. ``known`` are operations that need no decomposition."""

    def __init__(self, width: int, known: Collection[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = Recording(width)
        self.known = known
        self._tensors: list[Tensor] = []  # kept alive, so that no identity is used twice
        self._numbers: dict[int, int] = {}
        self._storages: dict[int, list[int]] = {}
        self._random: set[int] = set()
        self._inside: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = list(_tensors_in((args, kwargs)))
        name, inplace = _name(func)
        random = name in RANDOM or any(_storage(tensor) in self._random for tensor in inputs)
        if name == "_local_scalar_dense":
            self._check_readable(inputs[0], random)
            return func(*args, **kwargs)
        if random and name not in self.known:
            self._inside.append(name)
            try:
                with self:
                    apart = _taken_apart(func, name, inplace, args, kwargs)
            finally:
                self._inside.pop()
            if apart is not NotImplemented:
                return apart
        arguments = _named_arguments(func, tree_map(self._referred, args), tree_map(self._referred, kwargs))
        before = _source(func, name, kwargs)
        returned = func(*args, **kwargs)
        drawn = name in RANDOM or before != _source(func, name, kwargs)
        outputs = list(_tensors_in(returned))
        if inputs or outputs:
            source = before if drawn else None
            self._write(func, name, inplace, random or drawn, arguments, inputs, outputs, source)
        return returned

    def ref(self, tensor: Tensor) -> Ref:
        """Return the number of a tensor; one that was not seen before is an alias, or comes from outside."""
        if id(tensor) in self._numbers:
            return Ref(self._numbers[id(tensor)])
        storage, recording = _storage(tensor), self.recording
        twins = self._storages.get(storage, [])
        same = [index for index in twins if _geometry(self._tensors[index]) == _geometry(tensor)]
        if twins and not same:
            raise TraceError(
                f"a tensor of shape {tuple(tensor.shape)} shares memory with another and was made where it cannot be "
                f"seen ({_where()}): avoid .data of views and as_strided"
            )
        index = self._number(tensor)
        if same:
            alias = {"self": Ref(same[0])}
            recording.ops.append(Op(ALIAS, alias, (Ref(index),), None, True, {}, _where()))
        else:
            recording.leaves[index] = _numbers(tensor)
        return Ref(index)

    def _referred(self, value: Any) -> Any:
        return self.ref(value) if isinstance(value, Tensor) else value

    def _number(self, tensor: Tensor) -> int:
        index = len(self._tensors)
        self._tensors.append(tensor)
        self._numbers[id(tensor)] = index
        self._storages.setdefault(_storage(tensor), []).append(index)
        self.recording.shapes.append(tuple(tensor.shape))
        return index

    def _write(
        self,
        func: Any,
        name: str,
        inplace: bool,
        random: bool,
        arguments: Mapping[str, Any],
        inputs: list[Tensor],
        outputs: list[Tensor],
        source: bytes | None,
    ) -> None:
        if inplace and self.recording.shapes[self.ref(inputs[0]).index] != tuple(inputs[0].shape):
            self._number(inputs[0])  # squeeze_ and the like: from now on another view
            inplace = False
        refs = [
            Ref(self._numbers[id(tensor)]) if id(tensor) in self._numbers else Ref(self._number(tensor))
            for tensor in outputs
        ]
        written = self.ref(inputs[0]) if inplace else None
        if random:
            self._random.update(_storage(tensor) for tensor in outputs)
        kept = {
            ref.index: _numbers(tensor)
            for ref, tensor in zip(refs, outputs, strict=True)
            if not random or name in RANDOM or tensor.numel() <= KEPT
        }
        view = not inplace and any(r.alias_info is not None for r in func._schema.returns)
        self.recording.ops.append(Op(name, arguments, tuple(refs), written, view, kept, self._place(), source))

    def _place(self) -> str:
        return f"of aten.{self._inside[0]}, {_where()}" if self._inside else _where()

    def _check_readable(self, tensor: Tensor, random: bool) -> None:
        if random:
            raise TraceError(
                f"aten._local_scalar_dense ({_where()}): the code reads a random number into Python (.item(), bool(), "
                "float(), if and while over tensors; "
                "nn.init.trunc_normal_ and DataLoader(shuffle=True) "
                "do it inside), so what it does depends on it; write it with tensors "
                "(torch.where), or return the tensor itself"
            )


OWN: Mapping[str, Callable[..., Any]] = {
    # PyTorch's guards against rows of −∞, which no finite value gives
    "_safe_softmax": lambda x, dim, dtype=None: torch.softmax(x, dim),
}


def _taken_apart(func: Any, name: str, inplace: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation by its decomposition; ``NotImplemented`` where there is none."""
    from torch._decomp import decomposition_table

    if name in OWN:
        return OWN[name](*args, **kwargs)
    for asked in (func, *(_functional(func) if inplace else ())):
        if asked in decomposition_table:
            result = decomposition_table[asked](*args, **kwargs)
            if asked is func or result is NotImplemented:
                return result
            return args[0].copy_(result)
    return func.decompose(*args, **kwargs)


def _functional(func: Any) -> Iterator[Any]:
    packet = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::").removesuffix("_"), None)
    overload = func._schema.overload_name or "default"
    if packet is not None and overload in packet.overloads():
        yield getattr(packet, overload)


def _name(func: Any) -> tuple[str, bool]:
    """Return the name of an operation without its underscore, and whether it writes into its first argument."""
    schema = func._schema
    name = schema.name.rsplit("::", 1)[-1]
    first = schema.arguments[0] if schema.arguments else None
    written = bool(first is not None and first.alias_info is not None and first.alias_info.is_write)
    return (name.removesuffix("_") if written else name), written


def _named_arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments by the names of the schema, defaults included."""
    found: dict[str, Any] = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            found[argument.name] = args[place]
        elif argument.name in kwargs:
            found[argument.name] = kwargs[argument.name]
        else:
            found[argument.name] = argument.default_value
    return found


def _source(func: Any, name: str, kwargs: Mapping[str, Any]) -> bytes | None:
    """Return a digest of the generator's state for operations that may draw; equal states give equal numbers."""
    if name not in RANDOM and torch.Tag.nondeterministic_seeded not in func.tags:
        return None
    with torch.utils._python_dispatch._disable_current_modes():
        generator = kwargs.get("generator") or torch.default_generator
        return sha256(generator.get_state().numpy().tobytes()).digest()


def _tensors_in(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())


def _numbers(tensor: Tensor) -> Any:
    if tensor.dtype in (torch.bfloat16, torch.float16):
        raise TraceError(
            f"a tensor of {tensor.dtype} is made ({_where()}): its rounding is no Tensor Program's; trace the code in "
            "float32 or float64, without autocast"
        )
    with torch.utils._python_dispatch._disable_current_modes():
        plain = tensor.detach().clone()
        return plain.numpy() if plain.device.type == "cpu" else plain.cpu().numpy()


def _where() -> str:
    """Return the line of the user's code that is running."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith(INSIDE) and module != "torch":
            return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown line"
