"""What a check of a user's model finds: its layers, how its optimizer scales, and one row a measured number.

A *layer* is one use of a parameter in the forward pass: a linear map, an embedding, a convolution, a gain, a bias, or
the logits of an attention, which have no parameter. Layers are numbered from 0 in the order of the forward pass; a
row's ``layer`` is that number. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tpbench.bench.claim import Row


class Place(StrEnum):
    """What a layer is to the width: which of its axes grow."""

    INPUT = "input"  # fixed fan-in, growing fan-out: first layers, embeddings
    HIDDEN = "hidden"  # both grow
    OUTPUT = "output"  # growing fan-in, fixed fan-out: read-outs
    VECTOR = "vector"  # a bias or gain of neurons: an input weight on a constant
    FIXED = "fixed"  # a parameter that does not grow with the width, such as the bias of the output
    LOGITS = "logits"  # the logits of an attention: inner products over a width axis


@dataclass(frozen=True)
class Layer:
    """One use of one parameter. ``operation`` is what the model does with it, such as ``linear`` or ``embedding``.

    ``parameter`` is the name in ``model.named_parameters()``, "" for logits; ``tied`` are the names of other layers
    that use the same tensor. ``fan_in`` and ``fan_out`` are those of the narrowest width: numbers summed over for one
    output, and outputs; ``fan_in`` is 1 for vectors, both are 1 for logits. ``multiplier`` is the power of n of what
    the model's code multiplies the weight or the layer's output by, NaN where that is unknown. ``inner``: an output
    that later layers of the model read again, a bottleneck. ``rounded``: an axis is nearly proportional to the width.
    """

    number: int
    name: str
    place: Place
    operation: str
    parameter: str = ""
    tied: tuple[str, ...] = ()
    fan_in: int = 1
    fan_out: int = 1
    multiplier: float = math.nan
    inner: bool = False
    rounded: bool = False


@dataclass(frozen=True)
class Scaling:
    """How the optimizer treats one parameter, by width: learning rate, weight decay and epsilon of its group."""

    rate: Mapping[int, float]
    decay: Mapping[int, float]
    epsilon: Mapping[int, float]


@dataclass(frozen=True)
class Measurements:
    """Everything measured. ``rows`` are pairs of a width and a ``Row`` whose ``layer`` is the number of a layer.

    Quantities of a row (each a root mean square over batch and coordinates, of one seed, at one step):

    * ``preactivation``: the layer's output W x (step 0 only); of logits: the logits themselves
    * ``expected-preactivation``: rms(W_0) sqrt(fan-in) rms(x_0) (step 0): the same for weights that are independent of
      x_0, as they are before training, without the noise of few outputs; not of embeddings
    * ``attention-scale``: of logits, step 0: what the inner product of query and key is multiplied by, times their size
    * ``preactivation-change``: its change since step 0 (steps >= 1), all causes together
    * ``weight-update``: (W_t - W_0) x_t; of vectors and fixed biases: the change of the entries
    * ``initial-weight-on-change``: W_0 (x_t - x_0)
    * ``input``: the layer's input x_t (every step) - to tell a layer's own fault from one that it inherits; not of
      embeddings, which read numbers of tokens
    * ``shrinkage``: 1 - <W_t, W_0>/<W_0, W_0>, where the optimizer decays weights
    * ``gradient``: root mean square of the parameter's gradient entries; at step s, those that step s + 1 used
    * ``initial-weight``: rms(W_0), where there is an ``expected-preactivation``
    * ``loss-derivative``: rms(dL/df) over the model's output f, likewise; its ``layer`` is -1. None where the output is
      no tensor, or is the loss itself

    ``optimizer`` is the class name of the optimizer, ``family`` one of ``tpbench.parametrization.Family``'s values.
    ``wide`` are those of ``widths`` at which width × width weights were lazy, with ``wide_seeds`` seeds instead of
    ``seeds``; such a weight has no ``expected-preactivation`` and no ``shrinkage`` there, for W_0 is not known.

    ``forgotten`` are the trainable parameters that the optimizer does not have, ``frozen`` those that are not
    trainable; ``rerouted`` the numbers of layers that see other examples at other passes, so that their changes are not
    measured.
    """

    widths: tuple[int, ...]
    seeds: int
    steps: int
    record: tuple[int, ...]
    optimizer: str
    family: str
    layers: tuple[Layer, ...]
    scalings: Mapping[str, Scaling]
    rows: tuple[tuple[int, Row], ...]
    seconds: float
    wide: tuple[int, ...] = ()
    wide_seeds: int = 0
    forgotten: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    rerouted: tuple[int, ...] = ()
