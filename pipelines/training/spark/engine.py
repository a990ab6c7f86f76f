"""Spark as an engine of fitting: boosted trees are fitted and all rows scored on the executors that hold the rows.

Only counts, all frauds, and samples of the legitimate rows, weighted to stand for the rest, come into this process. The
step ``train`` itself is the same as on one machine (`train_on_spark`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from ml_project.contract_parts import ContractField
from ml_project.dataset import Dataset
from ml_project.engine import Evaluated
from ml_project.ensemble import (
    Ensemble,
    EnsembleSettings,
    IsolationMap,
    feature_aucs,
    filled,
    fit_forest,
    monotone_directions,
    training_medians,
    without,
)
from ml_project.features import FeatureTransform
from ml_project.operators import Scale, Shares, fit_shares
from ml_project.split import SPLIT, Fold, TimeSplit, checked_folds, checked_split, fold_shares
from ml_project.statistics import FeatureStatistics, Moments
from ml_project.unseen_scores import ScoredRows
from pipelines.data.ingest import read_meta
from pipelines.settings import PipelineSettings
from pipelines.spark_session import quoted, spark_session
from pipelines.tracking import Run
from pipelines.training.spark.part import SparkPart, cut, joined, read_transactions
from pipelines.training.spark.passes import (
    ANOMALY_BINS,
    SCORES,
    anomaly_pass,
    drawn,
    feature_columns,
    features_pass,
    grow,
    moments_pass,
    scores_pass,
    standing_for,
    to_dataset,
)
from pipelines.training.train import train


@dataclass(frozen=True)
class SparkEngine:
    """See `ml_project.engine.Engine`.

    Attributes
    ----------
    seed, threads, folds : int
        As for `LocalEngine`; threads are for what is fitted in this process.
    workers : int
        Spark tasks that grow the boosted trees together; 0: one per core that Spark has.
    sample_rows : int
        Legitimate rows in a sample, and again as many of those with the highest scores.
    """

    spark: Any
    seed: int = 0
    threads: int = 1
    folds: int = 3
    workers: int = 0
    sample_rows: int = 200_000
    _samples: dict[SparkPart, Dataset] = field(default_factory=dict, repr=False, compare=False)

    def split(self, data: SparkPart) -> TimeSplit[SparkPart]:
        """At fractions of the weight."""
        return checked_split(*cut(data, [*SPLIT]))

    def forward_folds(self, data: SparkPart) -> list[Fold[SparkPart]]:
        """At fractions of the weight."""
        past, *futures = cut(data, fold_shares(self.folds))
        chain = []
        for future in futures:
            chain.append(Fold(past, future))
            past = joined(past, future)
        return checked_folds(chain)

    def sample(self, part: SparkPart) -> Dataset:
        """All frauds and a reservoir of legitimate rows: those whose keys are the lowest."""
        from pyspark.sql import functions as f

        if part not in self._samples:
            fraud = f.col(quoted(part.contract.label_field)) == 1
            kept = part.rows.where(fraud | drawn(part, self.sample_rows)).toArrow()
            data, _ = to_dataset(part.contract, kept, self.sample_rows)
            weight = standing_for(data, part.summary.legitimate_weight)
            self._samples[part] = replace(data, weight=weight)
        return self._samples[part]

    def fit(self, part: SparkPart, settings: EnsembleSettings) -> tuple[Ensemble, FeatureTransform]:
        """The forest on the sample, the boosted trees on all rows, the map of isolation scores from counts of all."""
        transform = self._transform(part)
        contract, excluded = part.contract, settings.resolved(part.contract).excluded or ()
        sample = self.sample(part)
        seen = without(contract, transform(sample.raw), excluded)
        medians = training_medians(contract, seen, sample.weight)
        forest = fit_forest(filled(seen, medians), sample.weight, settings.forest, self.seed)
        aucs = feature_aucs(seen, sample.label, sample.weight)
        directions = monotone_directions(contract, aucs, settings.booster.monotone_auc)
        features = part.rows.mapInArrow(features_pass(transform, excluded), feature_columns(contract))
        booster = grow(self.spark, contract, features, settings.booster, directions, self.seed, self.workers)
        mapping = self._isolation_map(part, (forest, medians), transform, excluded)
        return Ensemble(forest, booster, mapping, settings.blend_weight, medians), transform

    def statistics(self, part: SparkPart, transform: FeatureTransform) -> FeatureStatistics:
        """Quantiles of the sample; means, deviations and extremes of all rows."""
        sample = self.sample(part)
        lines = part.rows.mapInArrow(moments_pass(transform), "moments binary").collect()
        first, *others = (Moments.from_bytes(bytes(line.moments)) for line in lines)
        names, moments = part.contract.feature_names, sum(others, start=first)
        return FeatureStatistics.fit(names, transform(sample.raw), sample.weight, moments)

    def score(self, part: SparkPart, ensemble: Ensemble, transform: FeatureTransform) -> Evaluated:
        """All frauds, the legitimate rows with the highest scores, and a weighted sample of the others.

        So the effect of any threshold among the highest scores is counted exactly.
        """
        from pyspark.sql import functions as f

        sent = self.spark.sparkContext.broadcast(ensemble)
        columns = part.rows.schema.add("isolation", "double").add("boosted", "double").add("hybrid", "double")
        scored = part.rows.mapInArrow(scores_pass(sent, transform), columns).persist()
        try:
            legitimate, hybrid = f.col(quoted(part.contract.label_field)) == 0, f.col("hybrid")
            share = max(0.0, 1 - self.sample_rows / max(len(part) - part.frauds, 1))
            ((cut_at,),) = scored.where(legitimate).select(f.percentile_approx(hybrid, share, 100_000)).collect()
            kept = scored.where(~legitimate | (hybrid > cut_at) | drawn(part, self.sample_rows)).toArrow()
        finally:
            scored.unpersist()
            sent.unpersist()
        high = kept.column("hybrid").to_numpy() > cut_at
        data, order = to_dataset(part.contract, kept, self.sample_rows, high)
        high = high[order]
        weight = standing_for(data, part.summary.legitimate_weight, high)
        rows = replace(data, weight=weight)
        scores = (kept.column(name).to_numpy()[order] for name in SCORES)
        return Evaluated(rows, ScoredRows(rows.moment, rows.label, rows.weight, rows.amount, *scores))

    def _transform(self, part: SparkPart) -> FeatureTransform:
        contract = part.contract
        fields = {name: contract.raw_fields[place] for name, place in contract.scaled_features.items()}
        counted = {
            name: self._shares(part, contract.scored_fields[place]) for name, place in contract.counted_features.items()
        }
        return FeatureTransform(contract, {name: self._scale(part, field) for name, field in fields.items()}, counted)

    def _shares(self, part: SparkPart, field: ContractField) -> Shares:
        from pyspark.sql import functions as f

        code = f.coalesce(f.col(quoted(field.name)), f.lit(float("nan")))
        counted = part.rows.groupBy(code.alias("code")).agg(f.sum(quoted(part.contract.weight)).alias("weight"))
        codes, weights = counted.toPandas().to_numpy(np.float64).T
        return fit_shares(codes, len(field.values), weights)

    def _scale(self, part: SparkPart, field: str) -> Scale:
        from pyspark.sql import functions as f

        weight, value = f.col(quoted(part.contract.weight)), f.col(quoted(field))
        weight = f.when(value.isNotNull(), weight)
        ((total, product),) = part.rows.agg(f.sum(weight), f.sum(weight * value)).collect()
        mean = product / total
        ((squares,),) = part.rows.agg(f.sum(weight * (value - mean) * (value - mean))).collect()
        return Scale.of(mean, (squares / total) ** 0.5)

    def _isolation_map(
        self,
        part: SparkPart,
        forest: tuple[IsolationForest, NDArray[np.float32] | None],
        transform: FeatureTransform,
        excluded: tuple[str, ...],
    ) -> IsolationMap:
        from pyspark.sql import functions as f

        sent = self.spark.sparkContext.broadcast(forest)
        counted = part.rows.mapInArrow(
            anomaly_pass(sent, transform, excluded), "bin bigint, weight double, highest double"
        )
        bins = counted.groupBy("bin").agg(f.sum("weight"), f.max("highest")).toPandas().to_numpy()
        sent.unpersist()
        centres = (bins[:, 0] + 0.5) / ANOMALY_BINS
        return IsolationMap.fit(np.append(centres, bins[:, 2].max()), np.append(bins[:, 1], 0.0))


def train_on_spark(
    run: Run, settings: PipelineSettings, starts: Sequence[EnsembleSettings] = (EnsembleSettings(),)
) -> None:
    """Train on the ingested data; see `train`. Tuning uses the sample, as it does everywhere."""
    meta = read_meta(settings.dataset_path, settings.data_contract)
    contract = meta.resolved(settings.data_contract)
    with spark_session(settings) as spark:
        data = read_transactions(spark, settings.dataset_path, contract, settings.seed)
        engine = SparkEngine(
            spark, settings.seed, settings.threads, settings.folds, settings.spark_workers, settings.spark_sample_rows
        )
        run.log(
            params={"engine": "spark", "spark_sample_rows": settings.spark_sample_rows},
            metrics=meta.cleaning.metrics,
        )
        train(settings, run, data, engine, meta, starts)
