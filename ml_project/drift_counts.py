"""What drift needs to know of rows, as sums: windows of any size are counted piece by piece, and the pieces add up."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_project.baseline import HOURS, WATCHED, Baseline, hours_of, watched_columns
from ml_project.schema import FEATURES
from ml_project.statistics import FeatureStatistics


@dataclass(frozen=True)
class DriftCounts:
    """Weights of rows, per entry of ``baseline.WATCHED`` (w of them).

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
        baseline: Baseline,
        statistics: FeatureStatistics,
        features: NDArray[np.float32],
        hybrid: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> "DriftCounts":
        """Count features (n, 37) and scores (n,) under weights (n,)."""
        counts = cls.none(baseline)
        all_hours = hours_of(features)
        for place, (name, column) in enumerate(watched_columns(features, hybrid).items()):
            values, hours, weights = column, all_hours, weight
            there = np.isfinite(column)
            if not there.all():
                values, hours, weights = column[there], all_hours[there], weight[there]
                counts.missing[place] = weight[~there].sum()
            counts.hours[place] = np.bincount(hours, weights=weights, minlength=HOURS)
            counts.squares[place] = np.square(weights).sum()
            cells = np.searchsorted(np.array(baseline.edges[name]), values, side="left")
            counts.bins[place] = np.bincount(cells, weights=weights, minlength=counts.bins.shape[1])
            if name in FEATURES:
                feature = FEATURES.index(name)
                beyond = (values < statistics.minimum[feature]) | (values > statistics.maximum[feature])
                counts.outside[place] = weights[beyond].sum()
        return counts

    @classmethod
    def none(cls, baseline: Baseline) -> "DriftCounts":
        """No rows."""
        most = max(map(len, baseline.edges.values())) + 1
        watched = len(WATCHED)
        shapes = (watched, HOURS), (watched,), (watched, most), (watched,), (watched,)
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
