"""Quality before the labels come: what figures would be, if the calibrated probabilities are right.

Labels are drawn from the probabilities again and again, and each figure is measured on every draw. How far the
probabilities themselves may be wrong is learnt from older rows, whose labels have come: a logistic curve over the
log-odds (`calibration`) is fitted on resamples of those, and each draw goes through one of them.

Source: confidence-based performance estimation; Garg et al., "Leveraging unlabeled data to predict out-of-distribution
performance", ICLR 2022, and Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021, on when
it holds: while the relation of features to fraud stays what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.calibration import Calibrator, fit_calibrator
from ml_project.metrics import Estimate, Metric, Ranker

UNKNOWN: Final = -1
"""A label that has not come."""

_CURVES: Final = 40
"""Resamples of the labelled rows: each costs a fit, and many draws share one."""


@dataclass(frozen=True)
class Recalibration:
    """What labelled rows say of the probabilities.

    Attributes
    ----------
    curves : tuple of Calibrator
        From probability to probability, one for each resample; the identity alone where nothing was labelled.
    ratio : Estimate or None
        Frauds found for each one that the probabilities promised; None where nothing was labelled.
    """

    curves: tuple[Calibrator, ...] = (Calibrator(),)
    ratio: Estimate | None = None

    @classmethod
    def of(
        cls, probability: NDArray[np.float64], label: NDArray[np.int8], weight: NDArray[np.float64], seed: int = 0
    ) -> "Recalibration":
        """From rows (m,) whose labels have come, frauds and others among them, with what each stands for."""
        rng = np.random.default_rng(seed)
        strata = [np.flatnonzero(label == value) for value in (0, 1)]
        promised = float((probability * weight).sum())
        curves, ratios = [], []
        for _ in range(_CURVES):
            counts = [rng.poisson(1.0, len(rows)) for rows in strata]
            counts[1][rng.integers(len(strata[1]))] += int(not counts[1].any())
            drawn = np.zeros(len(label))
            for rows, count in zip(strata, counts, strict=True):
                drawn[rows] = count
            kept = drawn > 0
            curves.append(fit_calibrator(probability[kept], label[kept], (weight * drawn)[kept]))
            ratios.append(float((weight * drawn)[label == 1].sum()) / max(promised, 1e-12))
        low, high = np.quantile(ratios, [0.025, 0.975])
        found = float(weight[label == 1].sum()) / max(promised, 1e-12)
        return cls(tuple(curves), Estimate(found, float(low), float(high)))

    def drifted(self, factor: float) -> bool:
        """Whether the labelled rows leave no doubt that the probabilities are wrong by more than a factor."""
        return self.ratio is not None and (self.ratio.low > factor or self.ratio.high < 1 / factor)


def expected_figures(
    score: NDArray[np.float64],
    probability: NDArray[np.float64],
    amount: NDArray[np.float64],
    weight: NDArray[np.float64],
    metrics: Mapping[str, Metric],
    recalibration: Recalibration,
    known: NDArray[np.int8] | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Figures of rows (n,) with the mean and 95 % interval of what their labels may turn out to be.

    Parameters
    ----------
    known : ndarray of shape (n,), optional
        Labels that have come already, ``UNKNOWN`` elsewhere; they are not drawn.

    Returns
    -------
    dict of Estimate
        A draw without any fraud counts as 0 in all of them.
    """
    rng = np.random.default_rng(seed)
    given = np.full(len(score), UNKNOWN, dtype=np.int8) if known is None else known
    curves = [curve.probability(probability) for curve in recalibration.curves]
    draws: dict[str, list[float]] = {name: [] for name in metrics}
    for number in range(replicates):
        fraud = rng.random(len(score)) < curves[number % len(curves)]
        label = np.where(given == UNKNOWN, fraud, given == 1).astype(np.int8)
        curve = Ranker(score, label, amount).curve(weight) if label.any() and not label.all() else None
        for name, metric in metrics.items():
            draws[name].append(0.0 if curve is None else metric(curve))
    return {
        name: Estimate(float(np.mean(values)), *(float(each) for each in np.quantile(values, [0.025, 0.975])))
        for name, values in draws.items()
    }
