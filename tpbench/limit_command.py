"""``tpbench limit``: options, table and JSON. Imports no torch until it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import bad_input

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.simulation import Request, Simulated

INFINITY = "inf"
POINTS = "1024,2048,4096"


def limit_command(
    data: Annotated[Path, typer.Option(help="An .npz file: x (inputs, features), y (inputs, outputs), maybe x_test.")],
    architecture: Annotated[str, typer.Option(help="mlp.")] = "mlp",
    hidden_layers: Annotated[int, typer.Option(help="Hidden layers.")] = 2,
    activation: Annotated[str, typer.Option(help="tanh, relu, gelu, …")] = "tanh",
    parametrization: Annotated[str, typer.Option(help="A name, or a TOML file with an abc table.")] = "mup",
    lr: Annotated[float, typer.Option(help="Learning rate eta; see the conventions that are printed.")] = 0.1,
    steps: Annotated[int, typer.Option(help="SGD steps.")] = 10,
    batch_size: Annotated[int | None, typer.Option(help="Minibatch; all inputs by default.")] = None,
    momentum: Annotated[float, typer.Option(help="Momentum.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.0,
    loss: Annotated[str, typer.Option(help="mse, cross-entropy or linear.")] = "mse",
    sigma_w: Annotated[float, typer.Option(help="Standard deviation of the weights, times sqrt(fan-in).")] = 1.0,
    bias: Annotated[bool, typer.Option("--bias", help="A trained bias in every layer, standard deviation 1.")] = False,
    base_width: Annotated[int, typer.Option(help="The width n0 at which all parametrizations are one network.")] = 1,
    centred: Annotated[bool, typer.Option("--centred", help="Train f - f_0 instead of f.")] = False,
    width: Annotated[str, typer.Option(help="inf, or a number of neurons.")] = INFINITY,
    weights: Annotated[str, typer.Option(help="dense, lazy or auto; at a finite width.")] = "auto",
    seeds: Annotated[int, typer.Option(help="Networks, or scrambles of the points at infinity.")] = 64,
    seed: Annotated[int, typer.Option(help="Another number is another set of seeds.")] = 0,
    points: Annotated[str, typer.Option(help="Powers of two to extrapolate over, at infinity.")] = POINTS,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Train networks of any width, or the infinitely wide one, and print their trajectory with standard errors."""
    options = dict(locals())
    with bad_input():
        from tpbench.console import status_line
        from tpbench.simulation import simulate

        request = _request(options)
        with status_line("training"):
            found = simulate(request)
        if as_json:
            print(json.dumps(_as_json(request, found), indent=1))
        else:
            _print(request, found)


def _print(request: Request, found: Simulated) -> None:
    from tpbench.console import stdout

    console = stdout()
    console.print(f"{request.parametrization.name}, {found.how}; {request.steps} steps", highlight=False)
    console.print(_table(found))
    for line in (*found.notes, "", *(f"convention: {text}" for text in _conventions(request))):
        console.print(line, highlight=False)


def _request(o: dict[str, Any]) -> Request:
    """Return the request that the options make; ``ValueError`` says which of them cannot be."""
    import torch

    from tpbench.claims.experiments.threads import resolve_device
    from tpbench.networks.train import Sgd
    from tpbench.parametrization import did_you_mean, table_of
    from tpbench.simulation import ARCHITECTURES, Request, read_data

    if o["architecture"] not in ARCHITECTURES:
        known = did_you_mean(o["architecture"], ARCHITECTURES)
        raise ValueError(f"unknown architecture {o['architecture']!r}{known}")
    if o["weights"] not in ("dense", "lazy", "auto"):
        raise ValueError(f"--weights is dense, lazy or auto, got {o['weights']!r}")
    if o["steps"] < 0 or o["seeds"] < 2:
        raise ValueError(f"--steps is at least 0 and --seeds at least 2, got {o['steps']} and {o['seeds']}")
    if o["width"] == INFINITY and o["weights"] != "auto":
        raise ValueError("--weights says how a network of finite width is held: give a --width, or leave it out")
    if o["width"] != INFINITY and o["points"] != POINTS:
        raise ValueError("--points are those of the infinite network: leave them out, or the --width")
    x, y, x_test = read_data(o["data"])
    network = ARCHITECTURES[o["architecture"]](
        inputs=x.shape[1],
        outputs=y.shape[1],
        width=1,
        depth=o["hidden_layers"],
        activation=o["activation"],
        bias=o["bias"],
        sigma_w=o["sigma_w"],
    )
    return Request(
        network=network,
        parametrization=table_of(o["parametrization"]),
        sgd=Sgd(o["lr"], o["momentum"], o["weight_decay"], o["batch_size"], o["loss"]),
        steps=o["steps"],
        x=x,
        y=y,
        x_test=x_test,
        width=_width(o["width"]),
        weights=o["weights"],
        seeds=o["seeds"],
        first_seed=o["seed"],
        points=_points(o["points"]),
        base_width=o["base_width"],
        centred=o["centred"],
        device=torch.device(resolve_device(o["device"])),
    )


def _width(text: str) -> int | None:
    if text == INFINITY:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--width is {INFINITY} or a whole number from 1, got {text!r}")
    return int(text)


def _points(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() and int(word).bit_count() == 1 for word in words):
        raise ValueError(f"--points are powers of two with commas between, such as 1024,2048; got {text!r}")
    return tuple(int(word) for word in words)


def _conventions(request: Request) -> list[str]:
    from tpbench.simulation import conventions

    return conventions(request)


def _as_json(request: Request, found: Simulated) -> dict[str, Any]:
    return {
        "parametrization": request.parametrization.as_config(),
        "width": INFINITY if request.width is None else request.width,
        "how": found.how,
        "notes": list(found.notes),
        "conventions": _conventions(request),
        "inputs": {"trained": len(request.x), "test": len(request.x_test)},
        "steps": list(range(request.steps + 1)),
        "mean": {name: values.tolist() for name, values in found.mean.items()},
        "standard_error": {name: values.tolist() for name, values in found.error.items()},
    }


SHOWN_OUTPUTS = 4
ROUNDING = 1e-12


def _table(found: Simulated) -> Table:
    """Return a table with a row a step: loss, the first outputs, and size and movement of every hidden layer."""
    from rich.table import Table

    depth = found.mean["preactivation"].shape[1]
    outputs = min(SHOWN_OUTPUTS, found.mean["output"][0].size)
    titles = ["loss", *(f"f({i + 1})" for i in range(outputs))]
    titles += [f"|h^{layer}|" for layer in range(1, depth + 1)] + [f"|Δh^{layer}|" for layer in range(1, depth + 1)]
    table = Table("step", *titles)
    for step in range(len(found.mean["loss"])):
        pairs = [(found.mean["loss"][step], found.error["loss"][step])]
        flat = zip(found.mean["output"][step].ravel(), found.error["output"][step].ravel(), strict=True)
        pairs += list(flat)[:outputs]
        for name in ("preactivation", "preactivation-change"):
            pairs += list(zip(found.mean[name][step], found.error[name][step], strict=True))
        table.add_row(str(step), *(with_error(mean, error) for mean, error in pairs))
    return table


def with_error(mean: float, error: float) -> str:
    """Return a number with the standard error of its last two digits in brackets, such as 0.39812(11)."""
    if not error > ROUNDING:
        return f"{mean:.6g}" if abs(mean) > ROUNDING else "0"
    from math import floor, log10

    places = max(0, 1 - floor(log10(error)))
    return f"{mean:.{places}f}({round(error * 10**places)})"
