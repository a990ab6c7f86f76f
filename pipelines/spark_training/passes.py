"""What executors do with rows, a batch at a time: features, an isolation forest's scores, an ensemble's scores."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.ensemble import anomaly_scores, blend, without
from ml_project.features import AmountStatistics, compute_features
from ml_project.schema import FEATURES, LABEL, RAW_FEATURES, WEIGHT
from ml_project.statistics import Moments
from pipelines.spark_training.part import KEY

Pass = Callable[[Iterable[Any]], Iterator[Any]]

FEATURE_COLUMNS: Final = (
    ", ".join(f"`{name}` float" for name in FEATURES) + f", {LABEL} tinyint, {WEIGHT} double, {KEY} bigint"
)
SCORES: Final = ("isolation", "boosted", "hybrid")
ANOMALY_BINS: Final = 65_536
"""Anomaly scores, 0 to 1, are counted this finely: a median of them is right to 8e-6."""


def raw_of(batch: Any) -> NDArray[np.float64]:
    """Raw fields (n, 30) of a batch or table."""
    return np.column_stack([_numbers(batch, name) for name in RAW_FEATURES])


def _numbers(batch: Any, name: str) -> Any:
    return batch.column(name).to_numpy(zero_copy_only=False)


def features_pass(amount: AmountStatistics, excluded: tuple[str, ...]) -> Pass:
    """Rows to what the boosted forest is fitted on: ``FEATURE_COLUMNS``."""

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            features = without(compute_features(raw_of(batch), amount), excluded)
            columns = [pa.array(column) for column in features.T]
            kept = (LABEL, WEIGHT, KEY)
            columns += [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays(columns, names=[*FEATURES, *kept])

    return work


def moments_pass(amount: AmountStatistics) -> Pass:
    """Rows to one line: the features' moments."""

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        total: Moments | None = None
        for batch in batches:
            if len(batch):
                part = Moments.of(compute_features(raw_of(batch), amount), _numbers(batch, WEIGHT))
                total = part if total is None else total + part
        if total is not None:
            yield pa.RecordBatch.from_arrays([pa.array([total.to_bytes()], pa.binary())], names=["moments"])

    return work


def anomaly_pass(sent: Any, amount: AmountStatistics, excluded: tuple[str, ...]) -> Pass:
    """Rows to weights per bin of anomaly score, and the highest score."""

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        counts, highest = np.zeros(ANOMALY_BINS), 0.0
        for batch in batches:
            if len(batch):
                anomaly = anomaly_scores(sent.value, without(compute_features(raw_of(batch), amount), excluded))
                bins = np.minimum((anomaly * ANOMALY_BINS).astype(np.int64), ANOMALY_BINS - 1)
                counts += np.bincount(bins, _numbers(batch, WEIGHT), ANOMALY_BINS)
                highest = max(highest, float(anomaly.max()))
        filled = np.flatnonzero(counts)
        columns = (filled, counts[filled], np.full(len(filled), highest))
        yield pa.RecordBatch.from_arrays([pa.array(each) for each in columns], names=["bin", "weight", "highest"])

    return work


def scores_pass(sent: Any, amount: AmountStatistics) -> Pass:
    """Rows with their ``SCORES`` behind them."""

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        ensemble = sent.value
        ensemble.booster.set_param("nthread", 1)  # Spark gives a task one core
        for batch in batches:
            features = compute_features(raw_of(batch), amount)
            isolation, boosted = ensemble.isolation(features), ensemble.boosted(features)
            scores = (isolation, boosted, blend(isolation, boosted, ensemble.blend_weight))
            columns = [*batch.columns, *(pa.array(score) for score in scores)]
            yield pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, *SCORES])

    return work
