"""The one definition of drift: how far a window of traffic is from a model's baseline, and how far chance alone goes.

Rows are first counted (`DriftCounts`): counts of any pieces of a window add up. Every figure read off them comes with
its ``noise``: the value that traffic without drift exceeds with a given, small probability. A limit that is the larger
of a noise and of an effect worth acting on (`DriftLimits`) neither cries wolf in small windows nor calls every trifle
of a large one significant. docs/adr/0011-drift.md gives the reasons.
"""

import math
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ml_project.baseline import (
    HOURS,
    SCORE,
    Baseline,
    hours_of,
    repeated_gaps,
    watched_categories,
    watched_columns,
    watched_names,
)
from ml_project.contract import Contract
from ml_project.statistics import FeatureStatistics


@dataclass(frozen=True)
class DriftCounts:
    """Weights of rows, per entry of `baseline.watched_names` (w of them).

    Attributes
    ----------
    hours : ndarray of shape (w, 24)
        Rows with a value, by hour of day.
    squares : ndarray of shape (w,)
        Sum of their squared weights.
    bins : ndarray of shape (w, b)
        The same rows by the baseline's bins; figures with fewer than b bins leave the last ones empty.
    outside : ndarray of shape (w,)
        Those beyond the range of the training rows.
    missing : ndarray of shape (w,)
        Rows without a value.
    """

    hours: NDArray[np.float64]
    squares: NDArray[np.float64]
    bins: NDArray[np.float64]
    outside: NDArray[np.float64]
    missing: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        contract: Contract,
        baseline: Baseline,
        statistics: FeatureStatistics,
        raw: NDArray[np.float64],
        features: NDArray[np.float32],
        hybrid: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> "DriftCounts":
        """Count rows (n, fields), features (n, f) and scores (n,) under weights (n,)."""
        counts = cls.none(baseline)
        all_hours = hours_of(contract, features)
        places = {name: feature for feature, name in enumerate(contract.feature_names)}
        for place, (name, column) in enumerate(watched_columns(contract, raw, features, hybrid).items()):
            values, hours, weights = column, all_hours, weight
            there = np.isfinite(column)
            if not there.all():
                values, hours, weights = column[there], all_hours[there], weight[there]
                counts.missing[place] = weight[~there].sum()
            counts.hours[place] = np.bincount(hours, weights=weights, minlength=HOURS)
            counts.squares[place] = np.square(weights).sum()
            cells = np.searchsorted(np.array(baseline.edges[name]), values, side="left")
            counts.bins[place] = np.bincount(cells, weights=weights, minlength=counts.bins.shape[1])
            if name in places:
                feature = places[name]
                beyond = (values < statistics.minimum[feature]) | (values > statistics.maximum[feature])
                counts.outside[place] = weights[beyond].sum()
        return counts

    @classmethod
    def none(cls, baseline: Baseline) -> "DriftCounts":
        """No rows."""
        most = max(map(len, baseline.edges.values())) + 1
        count = len(baseline.edges)
        shapes = (count, HOURS), (count,), (count, most), (count,), (count,)
        return cls(*(np.zeros(shape) for shape in shapes))

    def __add__(self, other: "DriftCounts") -> "DriftCounts":
        return DriftCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {each.name: getattr(self, each.name).tolist() for each in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DriftCounts":
        """The inverse of `to_dict`."""
        return cls(*(np.array(values[each.name], dtype=np.float64) for each in fields(cls)))


_LEAST_EXPECTED: Final = 10.0
"""Rows that a bin is expected to hold at least; neighbours are merged until it does."""

_RANGE_ENDS: Final = 2


@dataclass(frozen=True)
class Shift:
    """A figure of drift, and what chance alone would exceed with the probability that was asked for."""

    value: float
    noise: float


@dataclass(frozen=True)
class Share:
    """A share of rows, its usual size, and what chance alone would exceed with the probability that was asked for."""

    value: float
    usual: float
    noise: float

    def limit(self, least: float) -> float:
        """The share that it must exceed: so much more than usual, and more than chance."""
        return max(self.usual + least, self.noise)


@dataclass(frozen=True)
class Drift:
    """How far one of `baseline.watched_names` has moved.

    Attributes
    ----------
    rows : float
        Effective rows with a value.
    psi, ks : Shift
        Population stability index, and the largest distance of the distributions, both on the baseline's bins.
    missing : Share or None
        Rows without a value; None where another feature lacks the same ones and says so.
    other : Share or None
        Of a category, the rows with what is none of its values.
    out_of_range : Shift or None
        Share of the values outside the training rows' range; None for the score and for categories, which have none.
    expected, observed : tuple of float
        Shares per bin: the baseline's in the window's mix of hours, and the window's.
    """

    name: str
    rows: float
    psi: Shift
    ks: Shift
    missing: Share | None
    out_of_range: Shift | None
    expected: tuple[float, ...]
    observed: tuple[float, ...]
    other: Share | None = None


def compare(
    contract: Contract,
    baseline: Baseline,
    statistics: FeatureStatistics,
    raw: NDArray[np.float64],
    features: NDArray[np.float32],
    hybrid: NDArray[np.float64],
    weight: NDArray[np.float64],
    significance: float,
) -> list[Drift]:
    """Compare a window's rows (n, fields), features (n, f) and scores (n,), under weights (n,), with a baseline.

    Parameters
    ----------
    significance : float
        Probability with which each single noise is exceeded where nothing has changed; for a window as a whole it
        adds up over the figures (Bonferroni), however they depend on each other.
    """
    counts = DriftCounts.of(contract, baseline, statistics, raw, features, hybrid, weight)
    return judge(contract, baseline, counts, significance)


def judge(contract: Contract, baseline: Baseline, counts: DriftCounts, significance: float) -> list[Drift]:
    """The same of rows that were counted; see `compare`."""
    training = sum(baseline.rows)
    kinds, repeated = {each.name: each for each in watched_categories(contract)}, repeated_gaps(contract)
    found = []
    for place, name in enumerate(watched_names(contract)):
        hours, kept, missing = counts.hours[place], counts.hours[place].sum(), counts.missing[place]
        rows = float(kept**2 / counts.squares[place]) if kept else 0.0
        expected, known = _expected(baseline, name, hours)
        bins = counts.bins[place, : len(baseline.edges[name]) + 1]
        observed: NDArray[np.float64] = bins / max(kept, np.finfo(float).tiny)
        out_of_range = None
        if name != SCORE and name not in kinds:
            _low, high = chance_counts(_RANGE_ENDS, training, rows, significance)
            out_of_range = Shift(float(counts.outside[place] / kept) if rows else 0.0, high / rows if rows else 0.0)
        kind = kinds.get(name)
        other = (
            None if kind is None else share_of(observed[kind.other], expected[kind.other], known, rows, significance)
        )
        absent: Share | None
        if kind is not None and kind.optional:
            absent = share_of(observed[-1], expected[-1], known, rows, significance)
        else:
            usual = baseline.missing.get(name, 0.0)
            value = float(missing / (kept + missing)) if missing else 0.0
            total = float(kept + missing)
            absent = share_of(value, usual, training, total, significance) if usual else Share(value, 0.0, 0.0)
            absent = None if name in repeated else absent
        found.append(
            Drift(
                name,
                rows,
                population_stability(expected, observed, known, rows, significance),
                kolmogorov_smirnov(expected, observed, known, rows, significance),
                absent,
                out_of_range,
                tuple(expected.tolist()),
                tuple(observed.tolist()),
                other,
            )
        )
    return found


def share_of(value: float, usual: float, known: float, rows: float, significance: float) -> Share:
    """A share of ``rows`` rows that was ``usual`` among ``known`` rows before."""
    # one more than was seen, so that a share of 0 allows for chance
    _low, high = chance_counts(usual * known + 1, known, rows, significance)
    return Share(float(value), float(usual), high / rows if rows else 0.0)


def population_stability(
    expected: NDArray[np.float64], observed: NDArray[np.float64], known: float, rows: float, significance: float
) -> Shift:
    """PSI of shares per bin, known from ``known`` and ``rows`` rows.

    Without drift, PSI / (1/known + 1/rows) is distributed as chi-square with one degree of freedom less than there are
    bins. Source: Yurdakul, "Statistical properties of population stability index" (Western Michigan University, 2018).
    """
    if not rows or not known:
        return Shift(0.0, 0.0)
    before, now = _merged(expected, observed, rows)
    freedom = len(before) - 1
    if freedom == 0:
        return Shift(0.0, 0.0)
    before, now = np.maximum(before, 0.5 / known), np.maximum(now, 0.5 / rows)  # a logarithm needs half a row
    value = float(((now - before) * np.log(now / before)).sum())
    return Shift(value, chi_square_quantile(freedom, significance) * (1 / known + 1 / rows))


def kolmogorov_smirnov(
    expected: NDArray[np.float64], observed: NDArray[np.float64], known: float, rows: float, significance: float
) -> Shift:
    """Largest difference of the cumulated shares at the edges of the bins.

    Its noise is Smirnov's two-sample limit, which holds for binned and tied values too, with something to spare.
    Source: Conover, "Practical Nonparametric Statistics" (1999), sections 6.1 and 6.3.
    """
    if not rows or not known:
        return Shift(0.0, 0.0)
    value = float(np.abs(np.cumsum(observed - expected)).max())
    return Shift(value, math.sqrt(-math.log(significance / 2) / 2 * (1 / known + 1 / rows)))


def chi_square_quantile(freedom: int, significance: float) -> float:
    """The value that chi-square exceeds with a probability.

    Source: Wilson and Hilferty, "The distribution of chi-square", PNAS 17 (1931); within 2 % from 3 degrees of freedom
    on, and too large in the far tail of fewer. A gateway should not need SciPy.
    """
    z, part = NormalDist().inv_cdf(1 - significance), 2 / (9 * freedom)
    return float(freedom * (1 - part + z * math.sqrt(part)) ** 3)


def chance_counts(seen: float, known: float, rows: float, significance: float) -> tuple[int, int]:
    """How few and how many of ``rows`` new rows are still chance, where ``known`` rows before had ``seen`` of a kind.

    The count is predicted by a negative binomial distribution: a Poisson one whose rate the earlier rows tell with
    limited precision. For values beyond the range of all earlier rows that is exact with one ``seen`` per end, whatever
    the values' distribution. Source: Gumbel and von Schelling, "The distribution of the number of exceedances", Annals
    of Mathematical Statistics 21 (1950).

    Returns
    -------
    (int, int)
        Fewer than the first, or more than the second, come up with at most the probability ``significance`` each.
    """
    if not rows or not known:
        return 0, 0
    old = known / (known + rows)
    mean = seen * rows / known
    most = min(int(rows) + 1, int(mean + 40 * math.sqrt(mean / old) + 60))
    counts = np.arange(1, most + 1)
    steps = np.log((seen + counts - 1) / counts) + math.log1p(-old)
    probability = np.exp(seen * math.log(old) + np.append(0.0, np.cumsum(steps)))
    at_most = np.cumsum(probability)
    low = int(np.searchsorted(at_most, significance, side="right"))
    high = int(np.searchsorted(at_most, 1 - significance, side="left"))
    return low, min(high, int(rows))


def _expected(baseline: Baseline, name: str, hours: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The baseline's shares in the mix of a window's rows by hour (24,), and the rows that they are as good as."""
    shares = np.array(baseline.shares[name])
    if not hours.any():
        return shares.mean(axis=0), 0.0
    if not baseline.hourly:
        return shares[0], baseline.rows[0]
    mix = hours / hours.sum()
    known = 1 / float((mix**2 / np.maximum(baseline.rows, 1.0)).sum())
    expected: NDArray[np.float64] = mix @ shares
    return expected / expected.sum(), known


def _merged(
    expected: NDArray[np.float64], observed: NDArray[np.float64], rows: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Neighbouring bins put together until each is expected to hold enough rows."""
    starts, held = [0], 0.0
    for place, share in enumerate(expected):
        if held * rows >= _LEAST_EXPECTED:
            starts.append(place)
            held = 0.0
        held += share
    if held * rows < _LEAST_EXPECTED and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(expected, starts), np.add.reduceat(observed, starts)


_DRIFT_FIGURES: Final = 3
"""PSI, KS and the share out of range have noise; of a category, the share of others stands in the last one's place."""

_DECISION_FIGURES: Final = 4
"""Alerts and declines, each too many or too few."""


class DriftLimits(BaseModel):
    """The least that counts of each figure; a small window's own noise may need more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_rows: int = Field(ge=1)
    false_alarms: float = Field(gt=0, lt=1)
    psi: float = Field(ge=0)
    ks: float = Field(ge=0)
    missing: float = Field(ge=0)
    other: float = Field(0.01, ge=0)
    out_of_range: float = Field(ge=0)

    def significance(self, watched: int) -> float:
        """What each single figure may contribute to the false alarms of a window (Bonferroni)."""
        return self.false_alarms / (_DRIFT_FIGURES * watched + _DECISION_FIGURES)


class DecisionLimits(BaseModel):
    """When shares of alerts and of declines differ from those of the rows that the thresholds were chosen on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_rows: int = Field(ge=1)
    minimum_hours: float = Field(ge=0)
    factor: float = Field(gt=1)

    def between(self, share: float, baseline: Baseline, rows: float, significance: float) -> tuple[float, float]:
        """The least and the largest share that is no breach, for a baseline's share and a window of so many rows.

        Beyond them it is more than ``factor`` times too small or too large, and more than chance explains.
        """
        # One more than was seen, so that a share of 0 in the baseline allows for chance.
        seen, known = share * baseline.decision_rows + 1, baseline.decision_rows
        few, many = chance_counts(seen, known, rows, significance)
        return min(share / self.factor, few / rows), max(share * self.factor, many / rows)


def limit_of(shift: Shift, least: float) -> float:
    """The value that a figure must exceed: an effect worth acting on, and more than chance."""
    return max(least, shift.noise)
