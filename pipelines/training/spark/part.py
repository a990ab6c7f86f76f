"""Transactions as a Spark table, and stretches of it by time, known by their counts."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml_project.contract import Contract
from ml_project.dataset import span_in_days
from ml_project.errors import InvalidInput
from pipelines.data.on_spark import seconds_of
from pipelines.spark_session import quoted

MOMENT: Final = "moment"
KEY: Final = "key"
"""A hash of the row's content: draws the same sample whatever executor holds the row."""

_BUCKET: Final = 3600.0


@dataclass(frozen=True)
class Summary:
    """Counts of a stretch of rows, and the moments of its first and last."""

    rows: int
    frauds: int
    legitimate_weight: float
    first: float
    last: float

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.rows + other.rows,
            self.frauds + other.frauds,
            self.legitimate_weight + other.legitimate_weight,
            min(self.first, other.first),
            max(self.last, other.last),
        )


_NOTHING: Final = Summary(0, 0, 0.0, inf, -inf)


@dataclass(frozen=True)
class SparkPart:
    """Rows whose moment is at least ``begin`` and below ``end``; satisfies `ml_project.engine.Part`."""

    contract: Contract
    begin: float
    end: float
    summary: Summary = field(compare=False)
    table: Any = field(compare=False, repr=False)

    def __len__(self) -> int:
        return self.summary.rows

    @property
    def frauds(self) -> int:
        """Unweighted."""
        return self.summary.frauds

    @property
    def days(self) -> float:
        """Days that the rows cover."""
        return span_in_days(self.summary.first, self.summary.last)

    @property
    def first_moment(self) -> float:
        """Of the earliest row."""
        return self.summary.first

    @property
    def last_moment(self) -> float:
        """Of the latest row."""
        return self.summary.last

    @property
    def rows(self) -> Any:
        """The data frame."""
        from pyspark.sql import functions as f

        moment = f.col(MOMENT)
        return self.table.where((moment >= self.begin) & (moment < self.end))


def read_transactions(spark: Any, path: Path, contract: Contract, seed: int) -> SparkPart:
    """All rows that ``ingest`` left at a path: raw fields, label, weight, moment (see `Dataset`) and key."""
    from pyspark.sql import functions as f

    # Spark has no timestamps of nanoseconds
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    found = spark.read.parquet(str(path.absolute()))
    raw, label, weight = contract.raw_fields, contract.label_field, contract.weight
    nothing, there = f.lit(None).cast("double"), contract.event_time in found.columns
    moment = f.floor(seconds_of(found, contract) * 1e6) / 1e6 if there else nothing
    table = found.select(
        *(
            moment.alias(name) if name == contract.event_time else f.col(quoted(name)).cast("double").alias(name)
            for name in raw
        ),
        f.col(quoted(label)).cast("tinyint"),
        (f.col(quoted(weight)).cast("double") if weight in found.columns else f.lit(1.0)).alias(weight),
        seconds_of(found, contract).cast("double").alias(MOMENT),
    )
    table = table.withColumn(KEY, f.xxhash64(f.lit(seed), *map(quoted, (*raw, label)), MOMENT))
    (summary,) = _summaries(contract, table, [])
    if not summary.rows:
        raise InvalidInput(f"{path}: no rows.", "Run ingest first.")
    return SparkPart(contract, -inf, inf, summary, table)


def cut(whole: SparkPart, shares: list[float]) -> list[SparkPart]:
    """Consecutive parts, which begin where the shares of the total weight are reached, never inside one moment."""
    moments = _moments_at(whole.contract, whole.table, shares)
    edges = [whole.begin, *moments, whole.end]
    summaries = _summaries(whole.contract, whole.table, moments)
    return [
        SparkPart(whole.contract, *bounds, summary, whole.table)
        for bounds, summary in zip(pairwise(edges), summaries, strict=True)
    ]


def joined(first: SparkPart, second: SparkPart) -> SparkPart:
    """Two consecutive parts as one."""
    return SparkPart(first.contract, first.begin, second.end, first.summary + second.summary, first.table)


def _moments_at(contract: Contract, table: Any, shares: list[float]) -> list[float]:
    """Moments at which the cumulated weight reaches the shares: first the hour of each, then the moment within."""
    from pyspark.sql import functions as f

    bucket, total = f.floor(f.col(MOMENT) / _BUCKET), f.sum(quoted(contract.weight)).alias("weight")
    hours = table.groupBy(bucket.alias("hour")).agg(total).orderBy("hour").toPandas()
    cumulative = hours["weight"].to_numpy().cumsum()
    targets = np.array(shares) * cumulative[-1]
    places = np.minimum(np.searchsorted(cumulative, targets, side="left"), len(hours) - 1)
    wanted = hours["hour"].to_numpy()[places].tolist()
    within = table.where(bucket.isin(sorted(set(wanted)))).groupBy(MOMENT).agg(total)
    found = within.orderBy(MOMENT).toPandas()
    found_hours = np.floor(found[MOMENT].to_numpy() / _BUCKET)
    moments = []
    for target, place, hour in zip(targets, places, wanted, strict=True):
        rows = found[found_hours == hour]
        before = cumulative[place - 1] if place else 0.0
        reached = np.searchsorted(before + rows["weight"].to_numpy().cumsum(), target, side="left")
        moments.append(float(rows[MOMENT].to_numpy()[min(reached, len(rows) - 1)]))
    return moments


def _summaries(contract: Contract, table: Any, edges: list[float]) -> list[Summary]:
    """Of each stretch between the edges, and before the first and from the last on."""
    from pyspark.sql import functions as f

    stretch = sum((f.col(MOMENT) >= edge).cast("int") for edge in edges) if edges else f.lit(0)
    label = f.col(quoted(contract.label_field))
    legitimate = f.when(label == 0, f.col(quoted(contract.weight))).otherwise(0.0)
    counted = table.groupBy(stretch.alias("stretch")).agg(
        f.count("*"), f.sum(label), f.sum(legitimate), f.min(MOMENT), f.max(MOMENT)
    )
    found = {row[0]: Summary(*row[1:]) for row in counted.collect()}
    return [found.get(number, _NOTHING) for number in range(len(edges) + 1)]
