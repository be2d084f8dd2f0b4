"""How a user's optimizer treats every parameter, and which family of update rules it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpbench.check.measurements import Scaling

FAMILIES: Mapping[str, str] = {
    "SGD": "sgd",
    "ASGD": "sgd",
    "Adam": "adam",
    "AdamW": "adam",
    "Adamax": "adam",
    "NAdam": "adam",
    "RAdam": "adam",
    "SparseAdam": "adam",
    "RMSprop": "adam",
    "Rprop": "adam",
    "Adagrad": "adam",
    "Adadelta": "adam",
    "Lion": "adam",
    "SignSGD": "adam",
    "Muon": "spectral",
    "Shampoo": "spectral",
}
"""Family by class: does an update grow with the gradient (sgd), entry by entry keep its size whatever the gradient's
(adam: sign descent and all that divides by the gradient's own size), or have bounded singular values (spectral)?"""

PARTS: Mapping[str, str] = {"muon": "spectral", "shampoo": "spectral", "lion": "adam", "sign": "adam", "adam": "adam"}
"""Family of a class of another library by a part of its name."""


@dataclass(frozen=True)
class Setting:
    """Learning rate, weight decay and epsilon of one parameter; zeros where the optimizer does not have it."""

    rate: float = 0.0
    decay: float = 0.0
    epsilon: float = 0.0


def family_of(optimizer: object, told: str | None = None) -> str:
    """Return the family of an optimizer: "sgd", "adam" or "spectral"; ``told`` overrides what its class says.

    Raises ``ValueError`` for a class that is not known.
    """
    known = sorted(set(FAMILIES.values()))
    if told is not None:
        if told not in known:
            raise ValueError(f"family is {told!r}, and there is no such family of optimizers: say {', '.join(known)}")
        return told
    classes = [kind.__name__ for kind in type(optimizer).__mro__]
    for name in classes:
        if name in FAMILIES:
            return FAMILIES[name]
    for name in classes:
        for part, family in PARTS.items():
            if part in name.lower():
                return family
    raise ValueError(
        f"how the updates of the optimizer {classes[0]} grow is not known: say family='sgd' where they are "
        "proportional to the gradient, family='adam' where every entry keeps its size whatever the gradient's, "
        "family='spectral' where the update has bounded singular values"
    )


def check_rates(settings: Mapping[str, Setting], width: int) -> None:
    """Raise ``ValueError`` where no parameter has a learning rate, so that a check would judge what never moves."""
    if not any(setting.rate for setting in settings.values()):
        raise ValueError(
            f"every learning rate is 0 at width {width}, so nothing would be trained: is there a warm-up scheduler, "
            "whose first step is 0? Build the optimizer without it for the check"
        )


def settings_of(param_groups: Sequence[Mapping[str, Any]], names: Mapping[int, tuple[str, ...]]) -> dict[str, Setting]:
    """Return the setting of every parameter by its first name; ``names`` are by the ``id`` of parameters."""
    found = {all_names[0]: Setting() for all_names in names.values()}
    for group in param_groups:
        setting = Setting(*(float(group.get(key) or 0.0) for key in ("lr", "weight_decay", "eps")))
        for parameter in group["params"]:
            if id(parameter) in names:
                found[names[id(parameter)][0]] = setting
    return found


def scalings(by_width: Mapping[int, Mapping[str, Setting]]) -> dict[str, Scaling]:
    """Return settings by parameter, then by width. Every width has the same parameters."""
    names = next(iter(by_width.values()))
    return {
        name: Scaling(
            rate={width: found[name].rate for width, found in by_width.items()},
            decay={width: found[name].decay for width, found in by_width.items()},
            epsilon={width: found[name].epsilon for width, found in by_width.items()},
        )
        for name in names
    }
