"""Quality before the labels come: what figures would be, if the calibrated probabilities are right.

Labels are drawn from the probabilities again and again, and each figure is measured on every draw. How far the
probabilities themselves may be wrong is learnt from older rows, whose labels have come: a logistic curve over the
log-odds (`calibration`) is fitted on resamples of those, and each draw goes through one of them.

Frauds come in runs, of one customer or terminal: what some rows say of the probabilities, others of the same key only
repeat. So keys are resampled with all their rows, of the entity in which frauds beyond the probabilities gather most,
and what labels are drawn varies as much more as a figure of the labelled rows does for it (`design_effects`).

Source: confidence-based performance estimation; Garg et al., "Leveraging unlabeled data to predict out-of-distribution
performance", ICLR 2022, and Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021, on when
it holds: while the relation of features to fraud stays what it was. Resampling of keys: Davison and Hinkley,
"Bootstrap Methods and their Application" (1997), section 3.8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.calibration import Calibrator, fit_calibrator
from ml_project.metrics import Estimate, Metric, Ranker

UNKNOWN: Final = -1
"""A label that has not come."""

Keys = NDArray[np.int64] | NDArray[np.uint64]
"""Of one entity, a number (n,) for each row's key: rows of one key have the same."""

_CURVES: Final = 40
"""Resamples of the labelled rows: each costs a fit, and many draws share one."""

_GROUPS: Final = 60
"""Random groups of rows, or of keys with all their rows, that a variance is taken over: its error is then 18 %."""


@dataclass(frozen=True)
class Recalibration:
    """What labelled rows say of the probabilities.

    Attributes
    ----------
    curves : tuple of Calibrator
        From probability to probability, one for each resample; the identity alone where nothing was labelled.
    ratio : Estimate or None
        Frauds found for each one that the probabilities promised; None where nothing was labelled.
    effects : mapping
        Of figures by name, what `design_effects` says; 1 for others.
    """

    curves: tuple[Calibrator, ...] = (Calibrator(),)
    ratio: Estimate | None = None
    effects: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        probability: NDArray[np.float64],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        keys: Sequence[Keys] = (),
        effects: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> "Recalibration":
        """From rows (m,) whose labels have come, frauds and others among them, with what each stands for.

        Parameters
        ----------
        keys : sequence of Keys
            Of each entity; without any, rows count as independent.
        """
        rng = np.random.default_rng(seed)
        residual = label - fit_calibrator(probability, label, weight).probability(probability)
        whole = _drawn_whole(residual, keys)
        frauds = np.flatnonzero(label == 1)
        curves, ratios = [], []
        for _ in range(_CURVES):
            drawn = rng.poisson(1.0, int(whole.max()) + 1)[whole]
            drawn[frauds[rng.integers(len(frauds))]] += int(not drawn[frauds].any())
            kept = drawn > 0
            curves.append(fit_calibrator(probability[kept], label[kept], (weight * drawn)[kept]))
            ratios.append(_ratio(probability, label, weight * drawn))
        low, high = np.quantile(ratios, [0.025, 0.975])
        return cls(tuple(curves), Estimate(_ratio(probability, label, weight), float(low), float(high)), effects or {})

    def drifted(self, factor: float) -> bool:
        """Whether the labelled rows leave no doubt that the probabilities are wrong by more than a factor."""
        return self.ratio is not None and (self.ratio.low > factor or self.ratio.high < 1 / factor)


def _drawn_whole(residual: NDArray[np.float64], keys: Sequence[Keys]) -> NDArray[np.intp]:
    """Numbers (m,) of what is drawn as a whole: the keys in which residuals gather most, or single rows."""
    return max(
        _groupings(len(residual), keys), key=lambda each: float(np.square(np.bincount(each, weights=residual)).sum())
    )


def _groupings(rows: int, keys: Sequence[Keys]) -> list[NDArray[np.intp]]:
    """Each row for itself, then the rows of each entity's keys by number."""
    return [np.arange(rows), *(np.unique(each, return_inverse=True)[1] for each in keys)]


def _ratio(probability: NDArray[np.float64], label: NDArray[np.int8], weight: NDArray[np.float64]) -> float:
    return float(weight[label == 1].sum() / max(float((probability * weight).sum()), 1e-12))


def design_effects(
    score: NDArray[np.float64],
    probability: NDArray[np.float64],
    label: NDArray[np.int8],
    amount: NDArray[np.float64],
    weight: NDArray[np.float64],
    metrics: Mapping[str, Metric],
    keys: Sequence[Keys],
    seed: int = 0,
) -> dict[str, float]:
    """How much larger each figure's variance is than with independent labels, the probabilities being given; 1 or more.

    Measured on labelled rows (m,): a figure of probabilities in the place of labels changes as the labels of some rows
    take their places, and the squares of these changes, over groups of rows, add up to its variance. With groups of
    whole keys it is robust against what they have in common; what each entity adds is added up.

    Source: Kish, "Survey Sampling" (1965), section 5.4; of several entities Cameron, Gelbach and Miller, "Robust
    inference with multiway clustering", Journal of Business and Economic Statistics 29 (2011).
    """
    rng = np.random.default_rng(seed)
    expected = fit_calibrator(probability, label, weight).probability(probability)
    before = _figures(score, expected, amount, weight, metrics)
    variances: list[NDArray[np.float64]] = []
    for place in _groupings(len(label), keys):
        group = rng.integers(0, _GROUPS, int(place.max()) + 1)[place]
        changed = (np.where(group == number, label, expected) for number in range(_GROUPS))
        changes = [_figures(score, labels, amount, weight, metrics) - before for labels in changed]
        variances.append(np.square(changes).sum(axis=0))
    rows = np.maximum(variances[0], 1e-12)
    effect = 1 + np.sum([each - rows for each in variances[1:]], axis=0) / rows
    return dict(zip(metrics, np.maximum(effect, 1.0).tolist(), strict=True))


def _figures(
    score: NDArray[np.float64],
    label: NDArray[np.floating] | NDArray[np.int8],
    amount: NDArray[np.float64],
    weight: NDArray[np.float64],
    metrics: Mapping[str, Metric],
) -> NDArray[np.float64]:
    """Figures of labels from 0 to 1; nothing is worth 0 where all are 0 or all are 1."""
    if not label.any() or (label == 1).all():
        return np.zeros(len(metrics))
    curve = Ranker(score, label, amount).curve(weight)
    return np.array([metric(curve) for metric in metrics.values()])


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
    metrics : mapping
        Figures from 0 to 1.
    known : ndarray of shape (n,), optional
        Labels that have come already, ``UNKNOWN`` elsewhere; they are not drawn.

    Returns
    -------
    dict of Estimate
        A draw without any fraud counts as 0 in all of them.
    """
    rng = np.random.default_rng(seed)
    given = np.full(len(score), UNKNOWN, dtype=np.int8) if known is None else known
    waiting = given == UNKNOWN
    curves = [np.where(waiting, curve.probability(probability), given) for curve in recalibration.curves]
    centres = [_figures(score, curve, amount, weight, metrics) for curve in curves]
    spread = np.sqrt([recalibration.effects.get(name, 1.0) for name in metrics])
    draws = []
    for number in range(replicates):
        curve, centre = (each[number % len(curves)] for each in (curves, centres))
        label = (rng.random(len(score)) < curve).astype(np.int8)
        draws.append(centre + spread * (_figures(score, label, amount, weight, metrics) - centre))
    means, bounds = np.mean(draws, axis=0), np.clip(np.quantile(draws, [0.025, 0.975], axis=0), 0.0, 1.0)
    return {
        name: Estimate(float(mean), float(low), float(high))
        for name, mean, low, high in zip(metrics, means, *bounds, strict=True)
    }
