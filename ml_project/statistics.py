"""What the training rows looked like: kept in the bundle for scaling, range warnings and, as histograms, for drift."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_project.operators import CONSTANT, present

HISTOGRAM_BINS = 20


def weighted_quantile(
    values: NDArray[np.floating], weight: NDArray[np.float64], quantiles: list[float]
) -> NDArray[np.float64]:
    """Smallest values at which the cumulated weight reaches each quantile's share."""
    return Ranked.of(values, weight).quantiles(quantiles)


@dataclass(frozen=True)
class Ranked:
    """Values in rising order, and the weight of all up to and including each."""

    values: NDArray[np.floating]
    cumulative: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating], weight: NDArray[np.float64]) -> "Ranked":
        """Values (n,) under weights (n,)."""
        if np.all(weight == weight[0]):  # nothing to carry along: sorting alone is ten times as fast
            return cls(np.sort(values), weight[0] * np.arange(1, len(values) + 1, dtype=np.float64))
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.cumsum(weight[order]))

    def quantiles(self, shares: list[float]) -> NDArray[np.float64]:
        """Smallest values at which the cumulated weight reaches each share."""
        ranks = np.searchsorted(self.cumulative, np.array(shares) * self.cumulative[-1], side="left")
        chosen: NDArray[np.float64] = self.values[np.minimum(ranks, len(self.values) - 1)].astype(np.float64)
        return chosen

    def weight_up_to(self, limits: NDArray[np.floating], *, inclusive: bool = True) -> NDArray[np.float64]:
        """Weight of the values that are at most (or below) each limit."""
        counts = np.searchsorted(self.values, limits, side="right" if inclusive else "left")
        return np.append(0.0, self.cumulative)[counts]


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
        return cls.of(Ranked.of(values, weight))

    @classmethod
    def of(cls, ranked: Ranked) -> "Histogram":
        """The same of values in order."""
        edges = np.unique(ranked.quantiles([k / HISTOGRAM_BINS for k in range(1, HISTOGRAM_BINS)]))
        total = ranked.cumulative[-1]
        shares = np.diff(ranked.weight_up_to(edges.astype(ranked.values.dtype)), prepend=0.0, append=total) / total
        return cls(tuple(edges.tolist()), tuple(shares.tolist()))


@dataclass(frozen=True)
class Moments:
    """Of each feature's values that are there the weight, mean, variance and extremes; disjoint rows' add up.

    Each is of shape (f,).
    """

    weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float32], weight: NDArray[np.float64]) -> "Moments":
        """Of features (n, f) under weights (n,)."""
        figures, total = np.empty((5, features.shape[1])), float(weight.sum())
        for place, column in enumerate(features.T):  # one by one: in float64 all would take twice the rows' memory
            values, weights = present(column.astype(np.float64), weight)
            mean = np.average(values, weights=weights)
            variance = np.average((values - mean) ** 2, weights=weights)
            here = total if weights is weight else float(weights.sum()) if len(values) < len(column) else 0.0
            figures[:, place] = here, mean, variance, values.min(), values.max()
        return cls(*figures)

    def __add__(self, other: "Moments") -> "Moments":
        """Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983."""
        weight = self.weight + other.weight
        here, there = (each.weight / np.where(weight > 0, weight, 1.0) for each in (self, other))
        apart = other.mean - self.mean
        return Moments(
            weight,
            self.mean + there * apart,
            here * self.variance + there * other.variance + here * there * apart**2,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    def to_bytes(self) -> bytes:
        """For the way between processes."""
        return np.concatenate([self.weight, self.mean, self.variance, self.minimum, self.maximum]).tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Moments":
        """The inverse of `to_bytes`."""
        return cls(*np.reshape(np.frombuffer(content), (5, -1)))


@dataclass(frozen=True)
class FeatureStatistics:
    """Per feature, in the order of the contract's; fitted on training rows only.

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
    def fit(
        cls,
        names: Sequence[str],
        features: NDArray[np.float32],
        weight: NDArray[np.float64],
        moments: Moments | None = None,
    ) -> "FeatureStatistics":
        """Statistics of named features (n, f) under sampling weights (n,); a constant feature gets scale 1.

        ``moments`` are those of all rows, where the features are a sample's.
        """
        known = Moments.of(features, weight) if moments is None else moments
        std = np.sqrt(known.variance)
        quartiles, histograms = np.empty((len(names), 3)), {}
        for place, name in enumerate(names):
            ranked = Ranked.of(*present(features[:, place], weight))
            quartiles[place] = ranked.quantiles([0.25, 0.5, 0.75])
            histograms[name] = Histogram.of(ranked)
        iqr = quartiles[:, 2] - quartiles[:, 0]
        return cls(
            mean=_floats(known.mean),
            std=_floats(np.where(std > CONSTANT * np.abs(known.mean), std, 1.0)),
            median=_floats(quartiles[:, 1]),
            iqr=_floats(np.where(iqr > 0, iqr, 1.0)),
            minimum=_floats(known.minimum),
            maximum=_floats(known.maximum),
            histograms=histograms,
        )

    def standardise(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features in standard deviations from the training mean."""
        scaled: NDArray[np.float64] = (features - np.array(self.mean)) / np.array(self.std)
        return scaled


def _floats(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
