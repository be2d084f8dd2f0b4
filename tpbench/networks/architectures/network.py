"""Finite networks of every architecture, as ensembles with a leading seed axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tpbench.architecture import (
    Architecture,
    Attention,
    BatchNormalised,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)
from tpbench.networks.architectures import maps
from tpbench.networks.architectures.attention import attention
from tpbench.networks.architectures.convolution import convolution
from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Maps, Recorder, Use, Weights
from tpbench.networks.architectures.mlp import perceptron
from tpbench.networks.architectures.normalised import batch_normalised, layer_normalised
from tpbench.networks.architectures.residual import residual
from tpbench.networks.architectures.rnn import rnn
from tpbench.weights import MonteCarlo


@dataclass(frozen=True)
class Text:
    """How an architecture is computed: ``run(architecture, maps, inputs)``, inputs (seed, example, …) to f.

    ``mixes_examples`` where the output at one example depends on the others, as batch normalisation's does.
    ``axes`` is the number of axes of inputs between examples and channels.
    """

    run: Callable[[Any, Maps, Tensor], Tensor]
    axes: Callable[[Any], int] = lambda _: 0
    mixes_examples: bool = False


TEXTS: Mapping[type, Text] = {
    Perceptron: Text(perceptron),
    Residual: Text(residual),
    Recurrent: Text(rnn, axes=lambda _: 1),
    Convolution: Text(convolution, axes=lambda a: len(a.filter)),
    LayerNormalised: Text(layer_normalised),
    BatchNormalised: Text(batch_normalised, mixes_examples=True),
    Attention: Text(attention, axes=lambda _: 1),
}
LAYOUTS = ("(example, feature)", "(example, position, channel)", "(example, height, width, channel)")


@dataclass(frozen=True)
class Network:
    """Networks of one architecture, one a seed, with their weights; these are drawn at the first ``forward``."""

    architecture: Architecture
    weights: Weights

    @property
    def seeds(self) -> tuple[int, ...]:
        """The leading axis of everything."""
        return self.weights.source.seeds

    @property
    def mixes_examples(self) -> bool:
        """Whether f at one example depends on the others."""
        return TEXTS[type(self.architecture)].mixes_examples

    def forward(self, inputs: Tensor) -> Tensor:
        """Return f, (seed, example, out), of inputs (example, …) that all seeds share.

        Raises ``ValueError`` for inputs of another layout, dtype or device than the network's.
        """
        return self._run(self.weights, inputs)

    def recorded(self, inputs: Tensor) -> tuple[Tensor, tuple[Use, ...]]:
        """Return f and every use of a linear map on the way, in order; autograd gives gradients of f in their y."""
        recorder = Recorder(self.weights)
        with torch.enable_grad():
            output = self._run(recorder, inputs)
        return output, tuple(recorder.uses)

    def _run(self, by: Maps, inputs: Tensor) -> Tensor:
        check_inputs(self.architecture, inputs)
        source = self.weights.source
        if inputs.dtype != source.dtype or inputs.device.type != source.device.type:
            raise ValueError(
                f"the network is {source.dtype} on {source.device}, the inputs {inputs.dtype} on {inputs.device}: "
                "move one of them"
            )
        return run(self.architecture, by, inputs.expand(len(self.seeds), *inputs.shape))

    def materialised(self) -> Network:
        """Return the same network with dense weights only; lazy ones must fit into memory, out × in a seed."""
        return replace(self, weights=maps.materialised(self.weights))


def run(architecture: Architecture, by: Maps, inputs: Tensor) -> Tensor:
    """Run an architecture's text on inputs (seed, example, …) by the maps given; return f, (seed, example, out)."""
    return TEXTS[type(architecture)].run(architecture, by, inputs)


def check_inputs(architecture: Architecture, inputs: Tensor) -> None:
    """Raise ``ValueError`` for inputs (example, …) with another number of axes than the architecture takes."""
    axes = TEXTS[type(architecture)].axes(architecture)
    if inputs.dim() != 2 + axes or inputs.numel() == 0:
        raise ValueError(
            f"{type(architecture).__name__} takes inputs of shape {LAYOUTS[axes]}, none of them 0, "
            f"got {tuple(inputs.shape)}"
        )


def initial(
    architecture: Architecture,
    width: int,
    seeds: Sequence[int],
    *,
    lazy: bool = False,
    outputs: int = 1,
    device: torch.device,
    dtype: torch.dtype,
) -> Network:
    """Return networks at initialisation in the NTK parametrization, one a seed.

    A seed's weights do not depend on the ensemble it is drawn in. ``lazy`` weights between hidden layers have the same
    law as dense ones, at any width. Raises ``ValueError`` for an unknown activation, sizes below 1, and no seeds.
    """
    if width < 1 or outputs < 1:
        raise ValueError(f"a network has a width and outputs of at least 1, got {width} and {outputs}")
    elementwise(architecture.activation)
    innovations = MonteCarlo(seeds) if lazy else None
    drawn_from = maps.source(seeds, device=device, dtype=dtype, innovations=innovations)
    return Network(architecture, Weights(drawn_from, width, outputs))
