"""Boosted trees that grow on rows of many machines, the same ones for the same rows."""

import logging
from typing import Any, Final

import xgboost as xgb

from ml_project.ensemble import BoosterSettings, booster_parameters
from ml_project.schema import FEATURES, LABEL, WEIGHT
from pipelines.spark_training.part import KEY

_ADAPTIVE: Final = "spark.sql.adaptive.enabled"


def grow(
    spark: Any, features: Any, settings: BoosterSettings, directions: tuple[int, ...], seed: int, workers: int
) -> xgb.Booster:
    """XGBoost on a table of `passes.FEATURE_COLUMNS`.

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
        features_col=list(FEATURES),
        label_col=LABEL,
        weight_col=WEIGHT,
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
    booster.feature_names = list(FEATURES)
    return booster
