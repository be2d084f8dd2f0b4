"""How far an integral has to reach, and whether its nodes see what is to be seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tpbench.programs.infinite.atoms import Opaque
from tpbench.programs.infinite.integrand import SMOOTH, STRAIGHT, Integrand, all_atoms
from tpbench.programs.infinite.nodes import FARTHEST, LADDERS, REACH, Box, nodes, standard

FALLEN = 40.0
"""The logarithm by which an integrand has fallen from its largest value where an integral ends."""
CANCELS = 100.0
"""The size of an argument's coefficients from which on its rounding is looked at."""
EPSILON = 2.0**-52
BENT = 2e-2
"""Second differences on the dense grid, as a share of the largest value, that belong to something narrow."""
SCANNED = 2**17
"""Points at which functions of one variable that are not known are looked over for what nodes have missed."""
ON_A_LINE = 2**13
"""Points on every line that functions of more variables are looked over on."""
_CPU = torch.device("cpu")


def box(integrand: Integrand) -> Box:
    """Return where the integrand is not negligible: beside 9 standard deviations, what rays from 0 show."""
    count = len(integrand.axes)
    if not count:
        return standard(0)
    forms = np.array([integrand.along(form) for form in integrand.forms]).reshape(-1, count)
    lengths = np.linalg.norm(forms, axis=1)
    aside = np.random.default_rng(3).standard_normal((16 if count > 1 else 0, count))
    rays = np.concatenate([np.eye(count), forms[lengths > 0], aside])
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    radii = np.arange(0.25, FARTHEST, 0.25)
    radii = np.concatenate([-radii, radii])
    u = (rays.T[:, :, None] * radii).reshape(count, -1)
    f, wick = integrand.factors(torch.as_tensor(u, device=_CPU))
    whole = (f * wick(tuple(range(integrand.count)))).detach().abs().log().numpy()
    height = np.where(np.isfinite(whole), whole, -np.inf) - (u**2).sum(axis=0) / 2
    if not height.max() > -np.inf:
        return standard(count)
    held = u[:, height > height.max() - FALLEN]
    low, high = np.minimum(-REACH, held.min(axis=1) - 0.5), np.maximum(REACH, held.max(axis=1) + 0.5)
    radius = max(REACH, float(np.sqrt((held**2).sum(axis=0)).max()) + 0.5)
    return Box(tuple(np.maximum(-FARTHEST, low)), tuple(np.minimum(FARTHEST, high)), min(FARTHEST, radius))


def missed(integrand: Integrand, box: Box, found: float) -> str:
    """Return what dense grids see of a function that is not known and nodes do not, or "": in one variable on all of
    its range, in more on a few lines.
    """
    if not len(integrand.axes) or not _strange(integrand):
        return ""
    if len(integrand.axes) > 1:
        ridge = not integrand.curved and any(_ridge(integrand, *line) for line in _lines(len(integrand.axes)))
        return "a function bends sharply on a line, where its nodes do not expect it" if ridge else ""
    few, _ = nodes(integrand.breaks(), 12, 12, integrand.ends, box)
    many = torch.linspace(box.low[0], box.high[0], SCANNED + 1, dtype=torch.float64, device=_CPU)
    u, order = torch.cat([few[0], many]).sort()
    f, wick = integrand.factors(u[None])
    density = torch.exp(-u.square() / 2) / (2 * np.pi) ** 0.5
    dense = (f * wick(tuple(range(integrand.count)))).detach() * density
    gap = abs(float(torch.trapezoid(dense, u)) - found)
    allowed = float((u.diff() * dense.diff().abs()).sum()) + 1e-9 * float(torch.trapezoid(dense.abs(), u))
    peak, seen = float(dense.abs().max()), float(dense[order < few.shape[1]].abs().max())
    affine = integrand.breaks()
    ends = np.array([*(-affine[:, 0] / affine[:, 1]), *integrand.features])
    if gap <= allowed and peak <= 2 * seen and not _bent(ends, many, dense[order >= few.shape[1]], peak):
        return ""
    return f"a dense grid differs by {gap:.1e}, or has values that the nodes miss: too narrow a function"


def may_vanish(integrand: Integrand) -> bool:
    """Whether it can be 0 at all nodes and not be missed: known functions of numbers plus forms."""
    within = all_atoms([atom for atom, _ in integrand.opaque])
    return not _strange(integrand) and not any(integrand.nonaffine(atom) for atom in within)


def rounding(integrand: Integrand, box: Box) -> float:
    """Return what the rounding of arguments, at the size of what cancels in them, changes, as a share of E |f|."""
    arguments = [p for atom in all_atoms([atom for atom, _ in integrand.opaque]) for p in atom.arguments]
    if all(sum(map(abs, p.terms.values())) < CANCELS for p in arguments):
        return 0.0
    u, weights = nodes(integrand.breaks(), *LADDERS[len(integrand.axes)][0], integrand.ends, box)
    (f, wick), (moved, _) = integrand.factors(u), integrand.factors(u, noise=EPSILON)
    forms = wick(tuple(range(integrand.count)))
    size = float(torch.dot(weights, (f * forms).abs()))
    return float(torch.dot(weights, ((moved - f) * forms).abs())) / size if size else 0.0


def _lines(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return points and directions: all axes and a diagonal, through two points beside 0."""
    draw = np.random.default_rng(11)
    through = draw.standard_normal((2, count)) / 2
    along = [*np.eye(count), draw.standard_normal(count) / count**0.5]
    return [(point, direction) for point in through for direction in along]


def _ridge(integrand: Integrand, point: np.ndarray, direction: np.ndarray) -> bool:
    """Return whether a function bends within a step of a dense grid on a line, where panels do not end."""
    at = torch.linspace(-6, 6, ON_A_LINE, dtype=torch.float64, device=_CPU)
    u = torch.as_tensor(point, device=_CPU)[:, None] + torch.as_tensor(direction, device=_CPU)[:, None] * at
    f, wick = integrand.factors(u)
    dense = (f * wick(tuple(range(integrand.count)))).detach() * torch.exp(-u.square().sum(dim=0) / 2)
    breaks = integrand.breaks()
    slopes = breaks[:, 1:] @ direction
    crossed = np.abs(slopes) > 0
    ends = -(breaks[:, 0] + breaks[:, 1:] @ point)[crossed] / slopes[crossed]
    return _bent(ends, at, dense, float(dense.abs().max()))


def _bent(known: np.ndarray, at: Tensor, dense: Tensor, peak: float) -> bool:
    """Return whether a function bends within a step of a dense grid, where panels do not end."""
    ends = torch.as_tensor(np.sort(known), device=_CPU)
    places = torch.nonzero(dense.diff(n=2).abs() > BENT * peak)[:, 0] + 1
    near = 8 * float(at[1] - at[0])
    inside = torch.searchsorted(ends, at[places] + near) - torch.searchsorted(ends, at[places] - near)
    return bool((inside == 0).any())


def _strange(integrand: Integrand) -> list[Opaque]:
    """Opaque atoms whose function is not known."""
    return [atom for atom in all_atoms([atom for atom, _ in integrand.opaque]) if atom.call not in SMOOTH | STRAIGHT]
