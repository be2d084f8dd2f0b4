"""Which architectures the claims are about.

Activations and scales are such that a kernel's curvature, and with it the bias of a finite network, is large beside the
scatter: smooth activations (a kink would do for these rates, but not in training), scales where they are far from
linear. Every rival's kernels differ from the right ones, on the inputs compared, by far more than the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping

from tpbench.architecture import (
    Attention,
    BatchNormalised,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)
from tpbench.bench.claim import Fault
from tpbench.claims.architecture_kernels.subject import Case, Sizes, Subject, networks

SMOKE = {32: 256, 64: 192, 128: 128, 256: 64}
FULL = {24: 2**10, 32: 2**18, 64: 2**18, 128: 2**17, 256: 2**15, 512: 2**13, 1024: 64}
LAZY = {
    "nightly": {2**10: 32, 2**12: 32, 2**14: 16, 2**16: 4},
    "full": {2**10: 64, 2**12: 64, 2**14: 32, 2**16: 16, 2**18: 4},
}
FEW_LAZY = {"nightly": {2**10: 16, 2**12: 16, 2**14: 4}, "full": {2**10: 64, 2**12: 32, 2**14: 16, 2**16: 4}}
MANY = Sizes(SMOKE, {24: 512, 32: 2**16, 64: 2**15, 128: 2**14, 256: 2**10, 512: 64}, FULL, LAZY)
SOME = Sizes(SMOKE, {24: 512, 32: 2**15, 64: 2**14, 128: 2**13, 256: 2**9, 512: 64}, FULL, LAZY)
"""For biases that are large beside the scatter."""
FEW = Sizes(SMOKE, {24: 512, 32: 2**14, 64: 2**13, 128: 2**12, 256: 2**8}, FULL, FEW_LAZY)
"""For very large ones."""
POSITIONS = Sizes(SMOKE, {24: 512, 32: 2**16, 64: 2**15, 128: 2**13, 256: 2**8}, FULL, FEW_LAZY)
"""For networks that cost several times as much."""
COSTLY = Sizes(
    {16: 192, 32: 128, 64: 64},
    {12: 512, 16: 2**15, 32: 2**14, 64: 2**13, 128: 2**10, 256: 64},
    FULL,
    {"nightly": {2**10: 16, 2**12: 8}, "full": FEW_LAZY["full"]},
)
"""For networks that cost ten times as much."""
ZERO_PADDING = Fault(
    "zero-padding",
    "the networks' windows see zeros beyond the edge, those of the limit the other side",
    lambda c: networks(c, padding="zero"),
)


def _convolutions(sigma_w: float, filter: tuple[int, ...]) -> Mapping[str, Case]:
    mean, flat = (Convolution(2, "cos", sigma_w, filter=filter, readout=readout) for readout in ("mean", "flatten"))
    return {"flatten": Case(flat, mean), "mean": Case(mean, flat)}


SUBJECTS = (
    Subject(
        name="mlp",
        words="a multilayer perceptron",
        rival="The kernel is that of one layer less.",
        source="Lee et al. 2018, arXiv:1711.00165; Jacot et al. 2018, arXiv:1806.07572",
        cases={"": Case(Perceptron(2, "cos", 1.5), Perceptron(1, "cos", 1.5))},
        fault=Fault("lost-layer", "the networks have one layer less", lambda c: networks(c, depth=1)),
        sizes=MANY,
    ),
    Subject(
        name="residual",
        words="a residual network",
        rival="The kernel is that of the same layers without skip connections.",
        source="He et al. 2015, arXiv:1512.03385 (the architecture); Yang & Schoenholz 2017, arXiv:1712.08969",
        cases={"": Case(Residual(4, "silu", branch=0.9), Perceptron(4, "silu"))},
        fault=Fault(
            "wrong-branch-factor",
            "the networks add half of their branches, the limit 0.9 of them",
            lambda c: networks(c, branch=0.5),
        ),
        sizes=MANY,
    ),
    Subject(
        name="rnn",
        words="a recurrent network with the same weights at all times",
        rival="Tied weights count as fresh ones at every time, and nothing joins different times.",
        source="Alemohammad et al. 2020, arXiv:2006.10246",
        cases={"": Case(Recurrent("gelu", 0.7, 0.25), Recurrent("gelu", 0.7, 0.25, tied=False))},
        fault=Fault(
            "fresh-weights", "the networks have fresh weights at every time", lambda c: networks(c, tied=False)
        ),
        sizes=MANY,
        settings={"layout": "sequence"},
    ),
    Subject(
        name="conv1d",
        words="a convolutional network over a sequence",
        rival="The kernel is that of the other read-out: as if flat ones joined different positions and means did not.",
        source="Novak et al. 2019, arXiv:1810.05148; Arora et al. 2019, arXiv:1904.11955",
        cases=_convolutions(1.75, (3,)),
        fault=ZERO_PADDING,
        sizes=POSITIONS,
        settings={"layout": "sequence"},
    ),
    Subject(
        name="conv2d",
        words="a convolutional network over an image",
        rival="The kernel is that of the other read-out: as if flat ones joined different positions and means did not.",
        source="Novak et al. 2019, arXiv:1810.05148; Garriga-Alonso et al. 2019, arXiv:1808.05587; "
        "Arora et al. 2019, arXiv:1904.11955",
        cases=_convolutions(2.0, (3, 3)),
        fault=ZERO_PADDING,
        sizes=COSTLY,
        settings={"layout": "image"},
    ),
    Subject(
        name="layernorm",
        words="a perceptron with layer normalisation",
        rival="The kernel is that of the perceptron without it.",
        source="Ba et al. 2016, arXiv:1607.06450 (the architecture)",
        cases={"": Case(LayerNormalised(2, "tanh", 3.0), Perceptron(2, "tanh", 3.0))},
        fault=Fault("no-normalisation", "the networks do not normalise", lambda c: networks(c, kind="mlp")),
        sizes=SOME,
    ),
    Subject(
        name="batchnorm",
        words="a perceptron with batch normalisation",
        rival="Normalising over a batch is normalising over a layer.",
        ntk_rival="The statistics of a batch are constants for a gradient, as those of a layer become.",
        source="Yang et al. 2019, arXiv:1902.08129",
        cases={
            "": Case(
                BatchNormalised(3, "tanh", 1.5, 1.0),
                LayerNormalised(3, "tanh", 1.5, 1.0),
                ntk_rival=BatchNormalised(3, "tanh", 1.5, 1.0, statistics="constant"),
            )
        },
        fault=Fault(
            "layer-norm",
            "the networks normalise over neurons, not examples",
            lambda c: {**c, "architecture": c["rival_architecture"], "limit_architecture": c["architecture"]},
        ),
        ntk_fault=Fault(
            "constant-statistics",
            "the networks' gradients take the statistics of a batch for constants",
            lambda c: networks(c, statistics="constant"),
        ),
        sizes=COSTLY,
        settings={"examples": 10, "limit_error": 5e-4, "limit_points": 2**17},
        smoke_settings={"limit_error": 6e-3, "limit_points": 2**11},
        notes="A batch has 10 examples: the tangent kernel has the factor 1/s² of a batch's variance s², whose moments "
        "of order (examples - 1)/2 and more are infinite, and the spread's standard error needs the fourth.",
    ),
    Subject(
        name="attention",
        words="self-attention",
        rival="Queries and keys are independent, so that attention is uniform.",
        source="Hron et al. 2020, arXiv:2006.10540, with logits divided by n",
        cases={"": Case(Attention(1, "sin", 2.5), Attention(1, "sin", 2.5, tied=False))},
        fault=Fault("independent-keys", "the networks' keys are not their queries", lambda c: networks(c, tied=False)),
        sizes=FEW,
        settings={"layout": "sequence"},
    ),
)
