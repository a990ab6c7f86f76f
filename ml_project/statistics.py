"""What the training rows looked like: kept in the bundle for scaling, range warnings and, as histograms, for drift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_project.features import CONSTANT
from ml_project.schema import FEATURES

HISTOGRAM_BINS = 20


def weighted_quantile(
    values: NDArray[np.floating], weight: NDArray[np.float64], quantiles: list[float]
) -> NDArray[np.float64]:
    """Smallest values at which the cumulated weight reaches each quantile's share."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    ranks = np.searchsorted(cumulative, np.array(quantiles) * cumulative[-1], side="left")
    ranked: NDArray[np.float64] = np.asarray(values, dtype=np.float64)[order]
    chosen: NDArray[np.float64] = ranked[np.minimum(ranks, len(values) - 1)]
    return chosen


@dataclass(frozen=True)
class Histogram:
    """Shares of the training rows between edges; the outermost bins are open.

    ``shares`` has one entry more than ``edges``.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.floating], weight: NDArray[np.float64]) -> "Histogram":
        """Bins of equal weight as far as ties allow."""
        inner = [k / HISTOGRAM_BINS for k in range(1, HISTOGRAM_BINS)]
        edges = np.unique(weighted_quantile(values, weight, inner))
        bins = np.searchsorted(edges, values, side="left")
        shares = np.bincount(bins, weights=weight, minlength=len(edges) + 1) / weight.sum()
        return cls(tuple(edges.tolist()), tuple(shares.tolist()))


@dataclass(frozen=True)
class FeatureStatistics:
    """Per feature, in the order of ``schema.FEATURES``; fitted on training rows only.

    ``mean`` and ``std`` are those of scikit-learn's StandardScaler, ``median`` and ``iqr`` those of its RobustScaler,
    weighted.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    median: tuple[float, ...]
    iqr: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    histograms: dict[str, Histogram]

    @classmethod
    def fit(cls, features: NDArray[np.float32], weight: NDArray[np.float64]) -> "FeatureStatistics":
        """Statistics of features (n, 37) under sampling weights (n,); a constant feature gets scale 1."""
        values = features.astype(np.float64)
        mean = np.average(values, axis=0, weights=weight)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
        quartiles = np.array([weighted_quantile(column, weight, [0.25, 0.5, 0.75]) for column in values.T])
        iqr = quartiles[:, 2] - quartiles[:, 0]
        return cls(
            mean=_floats(mean),
            std=_floats(np.where(std > CONSTANT * np.abs(mean), std, 1.0)),
            median=_floats(quartiles[:, 1]),
            iqr=_floats(np.where(iqr > 0, iqr, 1.0)),
            minimum=_floats(values.min(axis=0)),
            maximum=_floats(values.max(axis=0)),
            histograms={name: Histogram.fit(values[:, i], weight) for i, name in enumerate(FEATURES)},
        )

    def standardise(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features in standard deviations from the training mean."""
        scaled: NDArray[np.float64] = (features - np.array(self.mean)) / np.array(self.std)
        return scaled


def _floats(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
