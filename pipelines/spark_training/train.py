"""The step ``train`` on Spark: the same step on another engine."""

from collections.abc import Sequence

from ml_project.ensemble import EnsembleSettings
from pipelines.ingest import read_meta
from pipelines.settings import PipelineSettings
from pipelines.spark_session import spark_session
from pipelines.spark_training.engine import SparkEngine
from pipelines.spark_training.part import read_transactions
from pipelines.tracking import Run
from pipelines.train import train


def train_on_spark(
    run: Run, settings: PipelineSettings, starts: Sequence[EnsembleSettings] = (EnsembleSettings(),)
) -> None:
    """Train on the ingested data; see `pipelines.train.train`. Tuning goes by its sample, as it does anywhere."""
    meta = read_meta(settings.dataset_path)
    with spark_session(settings) as spark:
        data = read_transactions(spark, settings.dataset_path, settings.seed)
        engine = SparkEngine(
            spark, settings.seed, settings.threads, settings.folds, settings.spark_workers, settings.spark_sample_rows
        )
        run.log_dataset(engine.sample(data).to_frame(), meta.name, meta.digest, len(data))
        run.log(
            params={"engine": "spark", "spark_sample_rows": settings.spark_sample_rows},
            metrics=meta.cleaning.metrics,
        )
        train(settings, run, data, engine, meta, starts)
