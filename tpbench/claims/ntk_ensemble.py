"""Mean and covariance of an ensemble of trained wide networks are those of a Gaussian process, but not of Bayes'.

Training moves outputs by ``A_t (y - f_0(X))``, with A_t from the tangent kernel Θ, and f_0 is Gaussian with the NNGP
kernel Σ, so over initialisations

    mean A_t y,   covariance Σ + A_t Σ(X, X) A_tᵀ - A_t Σ(X, ·) - Σ(·, X) A_tᵀ

after any number t of steps, at training and at test points (Lee et al. 2019, arXiv:1902.06720; de G. Matthews et al.
2017 for networks whose read-out alone is trained). Two rivals: the mean of networks that train their read-out alone,
whose tangent kernel is Σ and whose law ends at the Bayesian posterior of Lee et al. 2018 (arXiv:1711.00165); and the
covariance that takes f_0 and the change that depends on it for independent, without the last two terms. Mean and
variance are measured in units of the law's, too. What networks that train their read-out alone have of these is
``READOUT_ALONE``: after one step their mean lags most, after eight their variance is still half as large again.

Averaging over initialisations needs many networks, but for two quantities whose mean is known at every width: f_0 has
mean 0, and given the hidden layers f_0 has the covariance of their features. With these as control variates the noise
of a network falls like n^(-1/2) as well.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import sweep
from tpbench.claims.ntk_dynamics import kernel_shares

SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 16,
    "train": 12,
    "probes": 8,
    "learning_rate": 1.0,
    "steps": 8,
    "record": [1, 8],
    "shares": [1, 1, 1],
    "rival_shares": [0, 0, 1],
    "limit": "trained",
    "rival": "independent",
}
READOUT_ALONE = {1: (0.29, 1.49), 8: (0.74, 1.49)}
"""Step -> mean and variance of networks that train their read-out alone, in units of the law's (from theory)."""
TABLES = ("ntp",)


def predict(c: Config) -> tuple[Prediction, ...]:
    name = c["parametrization"]["name"]
    if kernel_shares(c) != [1] * (c["depth"] + 1):
        raise ValueError(f"the kernel of {name!r} lacks a layer's term, so its ensemble's law is not that of the NTK")
    found = []
    for step in c["record"]:
        found.append(Prediction(name, "mean-error", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "mean-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "covariance-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=step))
        mean, variance = READOUT_ALONE[step]
        found.append(Prediction(name, "mean-ratio", Kind.VALUE, 1.0, mean, tolerance=0.05, step=step))
        found.append(Prediction(name, "variance-ratio", Kind.VALUE, 1.0, variance, tolerance=0.08, step=step))
    return tuple(found)


CLAIM = Claim(
    name="ntk-ensemble",
    statement="Trained wide networks are a Gaussian process with the NTK's mean and covariance, at every step.",
    source="Lee et al. 2019, arXiv:1902.06720, mean and covariance of trained networks",
    rival="Their mean is that of Bayes' rule with the NNGP kernel; f_0 and its change are independent.",
    experiment="ntk-ensemble",
    sweeps={
        "smoke": sweep(TABLES, {32: 384, 64: 256, 128: 128, 256: 48}, SETTINGS),
        "nightly": sweep(TABLES, {32: 2048, 64: 1024, 128: 512, 256: 256, 512: 64}, SETTINGS, lazy={1024: 32, 4096: 8}),
        "full": sweep(
            TABLES,
            {64: 8192, 128: 4096, 256: 2048, 512: 1024, 1024: 256},
            SETTINGS,
            lazy={1024: 256, 4096: 64, 16384: 32},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "missing-layer",
            "the law's tangent kernel lacks the first layer's term",
            lambda c: {**c, "shares": [0, 1, 1]},
        ),
        Fault(
            "posterior",
            "the law is that of networks whose read-out alone is trained, which ends at the Bayesian posterior",
            lambda c: {**c, "shares": c["rival_shares"], "rival_shares": c["shares"]},
        ),
        Fault(
            "forgotten-cross-terms",
            "the law's covariance takes f_0 and the change that depends on it for independent",
            lambda c: {**c, "limit": c["rival"], "rival": c["limit"]},
        ),
        Fault(
            "missing-batch-average",
            "the networks train with twice the learning rate of the law",
            lambda c: {**c, "shares": [0.5 * share for share in c["shares"]]},
        ),
        Fault(
            "rate-too-large",
            "the networks train with a learning rate that is a fifth larger than the law's",
            lambda c: {**c, "shares": [share / 1.2 for share in c["shares"]]},
        ),
        Fault(
            "covariance-too-large",
            "the law's covariance is a fifth too large",
            lambda c: {**c, "limit": "too-large"},
        ),
    ),
    figures=(Figure.CONVERGENCE,),
    notes="Of the ensemble at the test points: its mean's component along the law's mean over the length of that (mean "
    "ratio), and the sum of its variances over the law's (variance ratio), both 1 where the law has the right size; "
    "the shares are 0 where the law is right and 1 where the rival is.",
)
