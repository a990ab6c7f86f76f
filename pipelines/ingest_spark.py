"""The step ``ingest`` on Spark: any number of rows to a folder of clean Parquet files, by the rules of `cleaning`."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import CleaningReport
from ml_project.errors import InvalidInput
from ml_project.schema import LABEL, RAW_FEATURES
from ml_project.simulator import simulate
from pipelines.ingest import Ingested, IngestedMeta, write_meta
from pipelines.settings import PipelineSettings
from pipelines.sources import Found, locate
from pipelines.spark_cleaning import clean_on_spark
from pipelines.spark_session import spark_session

_CHUNK: Final = 250_000
_PANDAS_INDEX: Final = "__index_level_"


def ingest_on_spark(settings: PipelineSettings, output: Path, on_notice: Callable[[str], None]) -> Ingested:
    """See `pipelines.ingest.ingest`; ``output`` becomes a folder, and must be reachable from every executor.

    Messages count and quote what cannot be used, but have no row numbers: a table on Spark has no order. The digest is
    another than `ingest`'s of the same rows; of equal rows with different weights the lowest weight stays.
    """
    partial = output.with_name(f".{output.name}.partial")
    with spark_session(settings) as spark, TemporaryDirectory(prefix="fraud-ingest-") as scratch:
        found = locate(
            settings.data,
            cache=settings.state_dir / "cache",
            simulated_rows=settings.simulated_rows,
            seed=settings.seed,
            on_notice=on_notice,
        )
        with _confined(spark):
            raw = _read(spark, _location(found, settings, Path(scratch)), found.name)
            clean, counted = clean_on_spark(raw, settings.missing, found.name)
            shutil.rmtree(partial, ignore_errors=True)
            try:
                clean.write.parquet(str(partial.absolute()), compression="zstd")
                rows, frauds, digest = _counted(spark.read.parquet(str(partial.absolute())))
                report = CleaningReport(
                    rows_out=rows, frauds=frauds, duplicates_dropped=counted["rows_in"] - rows, **counted
                )
                meta = IngestedMeta(found.source, found.name, digest, report)
                write_meta(meta, partial)
                _take_place(partial, output)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return Ingested(output, meta)


@contextmanager
def _confined(spark: Any) -> Iterator[None]:
    """Times in UTC, and timestamps of nanoseconds as numbers: Spark has none."""
    wanted = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.legacy.parquet.nanosAsLong": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    before = {name: spark.conf.get(name) for name in wanted}
    for name, value in wanted.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def _location(found: Found, settings: PipelineSettings, scratch: Path) -> str:
    if found.location is not None:
        return found.location
    file = scratch / "simulated.parquet"
    schema = pa.schema([*((name, pa.float64()) for name in RAW_FEATURES), (LABEL, pa.int8())])
    with pa.parquet.ParquetWriter(file, schema) as writer:
        for chunk in simulate(settings.simulated_rows, seed=settings.seed, chunk_rows=_CHUNK):
            writer.write_table(pa.table([*(pa.array(c) for c in chunk.raw.T), pa.array(chunk.label)], schema=schema))
    return str(file)


def _read(spark: Any, location: str, name: str) -> Any:
    location = "s3a://" + location.removeprefix("s3://") if location.startswith("s3://") else location
    if "://" not in location:
        if not Path(location).exists():
            raise InvalidInput(f"{name}: no such file or folder.", "Check --data.")
        location = str(Path(location).absolute())
    if location.endswith(".zip"):
        raise InvalidInput(f"{name}: Spark reads no .zip.", "Unpack it first, or ingest without --engine spark.")
    if location.endswith((".csv", ".csv.gz")):
        return spark.read.csv(location, header=True)
    table = spark.read.parquet(location)
    return table.drop(*(column for column in table.columns if column.startswith(_PANDAS_INDEX)))


def _counted(table: Any) -> tuple[int, int, str]:
    """Rows, frauds, and a digest that depends on the rows but not on their order."""
    from pyspark.sql import functions as f

    key = f.xxhash64(*table.columns)
    rows, frauds, *sums = table.agg(
        f.count("*"), f.sum(LABEL), f.sum(key.cast("decimal(38,0)")), f.bit_xor(key)
    ).first()
    said = json.dumps([table.dtypes, rows, frauds, *(str(each) for each in sums)])
    return rows, frauds, hashlib.sha256(said.encode()).hexdigest()


def _take_place(partial: Path, output: Path) -> None:
    """Put a finished folder where a file or folder may be; what was there goes last."""
    old = output.with_name(f".{output.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if output.is_dir():
        output.replace(old)
    else:
        output.unlink(missing_ok=True)
    partial.replace(output)
    shutil.rmtree(old, ignore_errors=True)
