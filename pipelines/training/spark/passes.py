"""What executors do with rows: features and scores a batch at a time, samples, and boosted trees on all rows.

Of legitimate rows a sample has those with the lowest keys, with weights that stand for all of them. A key is a hash of
the row's content (bottom-k sampling: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007), so that
the sample depends neither on partitions nor on the number of machines. Boosted trees, too, are the same for the same
rows.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from math import sqrt
from typing import Any, Final

import numpy as np
import pyarrow as pa
import xgboost as xgb
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.dataset import Dataset
from ml_project.ensemble import BoosterSettings, anomaly_scores, blend, booster_parameters, filled, without
from ml_project.features import FeatureTransform
from ml_project.statistics import Moments
from pipelines.spark_session import quoted
from pipelines.training.spark.part import KEY, MOMENT, SparkPart

Pass = Callable[[Iterable[Any]], Iterator[Any]]

SCORES: Final = ("isolation", "boosted", "hybrid")
ANOMALY_BINS: Final = 65_536
"""Anomaly scores, 0 to 1, are counted this finely: a median of them is right to 8e-6."""


def feature_columns(contract: Contract) -> str:
    """The schema of `features_pass`: features by place, as Spark's own names may not be theirs; label, weight, key."""
    features = (f"{name} float" for name in _feature_places(contract))
    kept = f"{quoted(contract.label_field)} tinyint, {quoted(contract.weight)} double, {KEY} bigint"
    return f"{', '.join(features)}, {kept}"


def _feature_places(contract: Contract) -> list[str]:
    return [f"f{place}" for place in range(len(contract.features))]


def raw_of(contract: Contract, batch: Any) -> NDArray[np.float64]:
    """Raw fields (n, fields) of a batch or table."""
    return np.column_stack([_numbers(batch, name) for name in contract.raw_fields])


def _numbers(batch: Any, name: str) -> Any:
    return batch.column(name).to_numpy(zero_copy_only=False)


def features_pass(transform: FeatureTransform, excluded: tuple[str, ...]) -> Pass:
    """Rows to what the boosted forest is fitted on: `feature_columns`."""
    contract = transform.contract

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            features = without(contract, transform(raw_of(contract, batch)), excluded)
            columns = [pa.array(column) for column in features.T]
            kept = (contract.label_field, contract.weight, KEY)
            columns += [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays(columns, names=[*_feature_places(contract), *kept])

    return work


def moments_pass(transform: FeatureTransform) -> Pass:
    """Rows to one line: the features' moments."""
    contract = transform.contract

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        total: Moments | None = None
        for batch in batches:
            if len(batch):
                part = Moments.of(transform(raw_of(contract, batch)), _numbers(batch, contract.weight))
                total = part if total is None else total + part
        if total is not None:
            yield pa.RecordBatch.from_arrays([pa.array([total.to_bytes()], pa.binary())], names=["moments"])

    return work


def anomaly_pass(sent: Any, transform: FeatureTransform, excluded: tuple[str, ...]) -> Pass:
    """Rows to weights per bin of anomaly score, and the highest score."""
    contract = transform.contract

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        counts, highest = np.zeros(ANOMALY_BINS), 0.0
        for batch in batches:
            if len(batch):
                seen = without(contract, transform(raw_of(contract, batch)), excluded)
                forest, medians = sent.value
                anomaly = anomaly_scores(forest, filled(seen, medians))
                bins = np.minimum((anomaly * ANOMALY_BINS).astype(np.int64), ANOMALY_BINS - 1)
                counts += np.bincount(bins, _numbers(batch, contract.weight), ANOMALY_BINS)
                highest = max(highest, float(anomaly.max()))
        places = np.flatnonzero(counts)
        columns = (places, counts[places], np.full(len(places), highest))
        yield pa.RecordBatch.from_arrays([pa.array(each) for each in columns], names=["bin", "weight", "highest"])

    return work


def scores_pass(sent: Any, transform: FeatureTransform) -> Pass:
    """Rows with their ``SCORES`` behind them."""

    def work(batches: Iterable[Any]) -> Iterator[Any]:
        ensemble = sent.value
        ensemble.booster.set_param("nthread", 1)  # Spark gives a task one core
        for batch in batches:
            features = transform(raw_of(transform.contract, batch))
            isolation, boosted = ensemble.isolation(features), ensemble.boosted(features)
            scores = (isolation, boosted, blend(isolation, boosted, ensemble.blend_weight))
            columns = [*batch.columns, *(pa.array(score) for score in scores)]
            yield pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, *SCORES])

    return work


_KEYS = 2**64
_LOWEST_KEY = -(2**63)


def drawn(part: SparkPart, rows: int) -> Any:
    """A condition that holds for the lowest keys: of legitimate rows for ``rows`` at least, and hardly more."""
    from pyspark.sql import functions as f

    legitimate = max(len(part) - part.frauds, 1)
    share = (rows + 6 * sqrt(rows) + 10) / legitimate
    key = f.col(KEY)
    return key < int(_LOWEST_KEY + share * _KEYS) if share < 1 else key >= _LOWEST_KEY


def to_dataset(
    contract: Contract, kept: pa.Table, rows: int, always: NDArray[np.bool_] | None = None
) -> tuple[Dataset, NDArray[np.intp]]:
    """Rows in order of time, and their places in the table.

    Parameters
    ----------
    rows : int
        Legitimate rows to keep, by key.
    always : ndarray of shape (n,), bool
        Legitimate rows that stay whatever their key.
    """
    label, key = kept.column(contract.label_field).to_numpy(), kept.column(KEY).to_numpy()
    moment = kept.column(MOMENT).to_numpy()
    stays = label == 1 if always is None else (label == 1) | always
    pool = np.flatnonzero(~stays)
    stays[pool[np.argsort(key[pool], kind="stable")[:rows]]] = True
    order = np.lexsort((key, moment))
    order = order[stays[order]]
    weight = kept.column(contract.weight).to_numpy()
    raw = raw_of(contract, kept)[order]
    return Dataset(contract, raw, label[order].astype(np.int8), weight[order], moment[order]), order


def standing_for(
    data: Dataset, legitimate_weight: float, always: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Weights (n,) under which the sampled legitimate rows make up what is left of all legitimate weight."""
    sampled = data.label == 0 if always is None else (data.label == 0) & ~always
    there = data.weight[sampled].sum()
    left = legitimate_weight - data.weight[(data.label == 0) & ~sampled].sum()
    if not there:
        return data.weight
    return np.where(sampled, data.weight * (left / there), data.weight)


_ADAPTIVE: Final = "spark.sql.adaptive.enabled"


def grow(
    spark: Any,
    contract: Contract,
    features: Any,
    settings: BoosterSettings,
    directions: tuple[int, ...],
    seed: int,
    workers: int,
) -> xgb.Booster:
    """XGBoost on a table of `feature_columns`.

    Parameters
    ----------
    directions : tuple of int
        See `monotone_directions`.
    workers : int
        Spark tasks that work together, all at once; 0: one per core that Spark has.
    """
    from xgboost.spark import SparkXGBClassifier

    logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
    workers = workers or spark.sparkContext.defaultParallelism
    parameters = booster_parameters(settings, directions, seed, threads=1)
    for its_own in ("objective", "nthread"):
        del parameters[its_own]
    classifier = SparkXGBClassifier(
        features_col=_feature_places(contract),
        label_col=contract.label_field,
        weight_col=contract.weight,
        num_workers=workers,
        n_estimators=settings.rounds,
        verbose=False,
        verbosity=0,
        **parameters,
    )
    # by content, not as files happen to be cut: workers have equal shares, and another run grows the same trees
    spread = features.repartition(workers, KEY).sortWithinPartitions(KEY)
    # adaptive execution would compute the features twice: once to count partitions
    adaptive = spark.conf.get(_ADAPTIVE)
    spark.conf.set(_ADAPTIVE, "false")
    try:
        booster: xgb.Booster = classifier.fit(spread).get_booster()
    finally:
        spark.conf.set(_ADAPTIVE, adaptive)
    booster.feature_names = list(contract.feature_names)
    return booster
