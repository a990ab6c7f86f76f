"""The same suite on a Spark data frame: the table never comes to this machine, only its figures do."""

from pathlib import Path
from typing import Any

from ml_project.schema import EVENT_TIME, LABEL, WEIGHT
from pipelines.ingest import IngestedMeta, read_meta
from pipelines.settings import PipelineSettings
from pipelines.spark_session import spark_session
from pipelines.validation.report import ValidationReport
from pipelines.validation.run import check
from pipelines.validation.summary import COMPARED, Reference, figures_of


def validate_on_spark(settings: PipelineSettings, output: Path) -> tuple[ValidationReport, IngestedMeta]:
    """Validate the ingested data on Spark; see `pipelines.validation.run.validate`.

    The content is not compared with its digest, which would need all of it in one place.
    """
    meta = read_meta(settings.dataset_path)
    with spark_session(settings) as spark:
        # Spark has no timestamps of nanoseconds; the suite asks only whether they are there, and differ.
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        table = spark.read.parquet(str(settings.dataset_path.absolute()))
        figures = summarise_on_spark(table, Reference.load())
        return check(table, EVENT_TIME in table.columns, figures, meta, output), meta


def summarise_on_spark(table: Any, reference: Reference) -> dict[str, float]:
    """The figures of `pipelines.validation.summary.summarise`, by two aggregations: means, then spreads about them."""
    from pyspark.sql import functions as f

    columns = [column for column in (LABEL, *COMPARED) if column in table.columns]
    weight = f.col(WEIGHT) if WEIGHT in table.columns else f.lit(1.0)
    sums = [f.sum(weight * f.col(column)).alias(column) for column in columns]
    frauds = f.sum((f.col(LABEL) == 1).cast("double")) if LABEL in columns else f.lit(0.0)
    first = table.agg(f.count("*").alias("rows"), frauds.alias("frauds"), f.sum(weight).alias("total"), *sums).first()
    means = {column: float(first[column]) / first["total"] for column in columns}
    squares = [f.sum(weight * (f.col(name) - mean) * (f.col(name) - mean)).alias(name) for name, mean in means.items()]
    second = table.agg(*squares).first()
    moments = {name: (mean, float((second[name] / first["total"]) ** 0.5)) for name, mean in means.items()}
    return figures_of(int(first["rows"]), float(first["frauds"]), moments, reference)
