"""The step ``ingest`` on Spark: any number of rows to a folder of clean Parquet files.

The rules of `ml_project.cleaning` are Spark expressions here: one pass looks for faults, a second writes the clean
table.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import NO_VALUES, CleaningReport, check_columns
from ml_project.columns import LEARNT_VALUES, NO_VALUE, TRUTHS, UNKNOWN, learn_values
from ml_project.contract import Contract
from ml_project.contract_parts import A_VALUE, ContractField, label_word
from ml_project.errors import InvalidInput
from ml_project.event_times import NANOSECONDS, EventTimeBounds
from ml_project.history import Events, compute_history
from pipelines.data.ingest import IngestedFile, IngestedMeta, write_meta
from pipelines.data.sources import DataLocation, locate, simulated_tables
from pipelines.data.spark_tables import BROKEN, ROW_ORDER, moment_of, read_spark_table
from pipelines.settings import PipelineSettings
from pipelines.spark_session import quoted, spark_session

_CHUNK: Final = 250_000
_TOGETHER: Final = 250_000
NO_ORDER: Final = "Without times the rows are in the order of their file, which Spark does not keep."
_BROKEN_SAID: Final = "has another number of fields than the header"


def ingest_on_spark(settings: PipelineSettings, output: Path, on_notice: Callable[[str], None]) -> IngestedFile:
    """See `pipelines.data.ingest.ingest`; ``output`` becomes a folder, and must be reachable from every executor.

    Messages count and quote what cannot be used, but have no row numbers: a table on Spark has no order. The digest
    differs from `ingest`'s for the same rows; of equal rows with different weights the lowest weight is kept.
    """
    contract = settings.data_contract
    partial = output.with_name(f".{output.name}.partial")
    with spark_session(settings) as spark, TemporaryDirectory(prefix="fraud-ingest-") as scratch:
        found = locate(
            settings.data,
            contract,
            cache=settings.state_dir / "cache",
            simulated_rows=settings.simulated_rows,
            seed=settings.seed,
            on_notice=on_notice,
        )
        with _confined(spark):
            location = _location(found, settings, Path(scratch))
            raw = read_spark_table(spark, location, contract, found.name, settings.s3_endpoint_url)
            bounds = settings.event_time_bounds(datetime.now(UTC))
            values = learnt_on_spark(raw, contract)
            contract, asked = contract.with_values(values), contract
            clean, counted = clean_on_spark(raw, contract, settings.missing, found.name, bounds)
            shutil.rmtree(partial, ignore_errors=True)
            try:
                clean.write.parquet(str(partial.absolute()), compression="zstd")
                rows, frauds, digest = _count(spark.read.parquet(str(partial.absolute())), contract)
                dropped = counted["rows_in"] - counted["unlabelled_dropped"] - rows
                report = CleaningReport(rows_out=rows, frauds=frauds, duplicates_dropped=dropped, **counted)
                meta = IngestedMeta(found.source, found.name, digest, report, asked.digest, values)
                write_meta(meta, partial)
                _take_place(partial, output)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return IngestedFile(output, meta)


@contextmanager
def _confined(spark: Any) -> Iterator[None]:
    """Times in UTC, and nanosecond timestamps as numbers, since Spark has no such type."""
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


def _location(found: DataLocation, settings: PipelineSettings, scratch: Path) -> str:
    if found.location is not None:
        return found.location
    file = scratch / "simulated.parquet"
    writer = None
    try:
        for frame in simulated_tables(settings.data_contract, settings.simulated_rows, settings.seed, _CHUNK):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or pa.parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return str(file)


def seconds_of(table: Any, contract: Contract) -> Any:
    """What orders the rows of a clean table, in seconds, as a column: see `ml_project.dataset.Dataset`."""
    from pyspark.sql import functions as f

    types = dict(table.dtypes)
    if contract.event_time not in types:
        if contract.time is None:
            raise InvalidInput(NO_ORDER, "Give a field with a time, or ingest and train without --engine spark.")
        return f.col(quoted(contract.time)).cast("double")
    nanoseconds = types[contract.event_time] == "bigint"  # Spark has no timestamps of nanoseconds
    moment = f.col(quoted(contract.event_time))
    return moment / 1e9 if nanoseconds else f.unix_micros(moment) / 1e6


def _count(table: Any, contract: Contract) -> tuple[int, int, str]:
    """Rows, frauds, and a digest that depends on the rows but not on their order."""
    from pyspark.sql import functions as f

    key = f.xxhash64(*map(quoted, table.columns))
    rows, frauds, *sums = table.agg(
        f.count("*"), f.sum(quoted(contract.label_field)), f.sum(key.cast("decimal(38,0)")), f.bit_xor(key)
    ).first()
    said = json.dumps([table.dtypes, rows, frauds, *(str(each) for each in sums)])
    return rows, frauds, hashlib.sha256(said.encode()).hexdigest()


def _take_place(partial: Path, output: Path) -> None:
    """Put a finished folder in the place of an earlier file or folder, which is removed last."""
    old = output.with_name(f".{output.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if output.is_dir():
        output.replace(old)
    else:
        output.unlink(missing_ok=True)
    partial.replace(output)
    shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class _Fault:
    """A condition that no row may meet."""

    column: str
    condition: Any
    said: str


def clean_on_spark(
    raw: Any, contract: Contract, missing: Literal["reject", "impute"], name: str, bounds: EventTimeBounds = NANOSECONDS
) -> tuple[Any, dict[str, Any]]:
    """The clean table, not computed yet, and the fields of its `CleaningReport` that are known already.

    Raises
    ------
    InvalidInput
        Naming the first offending column, how many rows offend, and the value in one of them.
    """
    from pyspark.sql import functions as f

    check_columns([column for column in raw.columns if column not in (BROKEN, ROW_ORDER)], contract, name)
    present = [column for column in contract.clean_columns if column in raw.columns]
    types = {field.name: field for field in contract.scored_fields}
    values = {column: f.col(quoted(column)).try_cast("double") for column in present}
    texts = {column for column, kind in raw.dtypes if kind == "string"}
    absent = {column: f.col(quoted(column)).isNull() | f.isnan(value) for column, value in values.items()}
    absent |= {column: absent[column] | f.trim(quoted(column)).isin(*NO_VALUE) for column in texts & set(present)}
    for column, field in types.items():
        if field.type == "category" and column in absent:
            absent[column] = f.coalesce(_words(raw, column), f.lit("")) == ""
    values |= {name: _typed(raw, field) for name, field in types.items() if name in values and not field.numeric}
    if not contract.label.plain:
        label = contract.label_field
        values[label], absent[label] = _label(raw, contract), f.lit(False)
    moment = moment_of(raw, contract) if contract.event_time in raw.columns else None
    broken = [_Fault(BROKEN, f.col(BROKEN).isNotNull(), _BROKEN_SAID)] if BROKEN in raw.columns else []
    faults = broken + _faults(contract, values, absent, moment, missing, bounds)
    rows, gaps = _look(raw, contract, absent, faults, name)
    values |= _fill(raw, values, absent, {name: count for name, count in gaps.items() if types[name].required})
    nothing = f.lit(None).cast("double")
    numbers = (column for column in contract.given_names if column != contract.event_time)
    keys = {column: values.get(column, nothing) for column in numbers}
    keys[contract.label_field] = values[contract.label_field].cast("tinyint")
    beside = [column for column in contract.kept_columns if column in raw.columns]
    if moment is not None:
        keys[contract.event_time] = moment
    elif contract.time is None:
        raise InvalidInput(f"{name}: {NO_ORDER}", "Give a field with a time, or ingest without --engine spark.")
    for column in beside:
        if column != contract.event_time:
            keys[column] = f.when(_words(raw, column) != "", _words(raw, column))
    name_of_weight = contract.weight
    weight = values.get(name_of_weight, f.lit(1.0)).alias(name_of_weight)
    known = f.col(quoted(contract.label_field)) != UNKNOWN
    orders = [ROW_ORDER] if contract.history else []
    table = raw.select(*(value.alias(column) for column, value in keys.items()), weight, *orders)
    table = table if contract.history else table.where(known)
    least = (f.min(quoted(column)).alias(column) for column in (name_of_weight, *orders))
    distinct = table.groupBy(*map(quoted, keys)).agg(*least)
    if contract.history:
        # Nothing is learnt from an unknown label, but the transaction is part of what others had before.
        distinct = with_history_on_spark(distinct, contract, rows).where(known)
    columns = [*contract.clean_columns, *beside, *(feature.name for feature in contract.history)]
    optional = {field.name for field in contract.scored_fields if not field.required}
    unknown = rows if contract.label.plain else raw.where(keys[contract.label_field] != UNKNOWN).count()
    return distinct.select(*map(quoted, columns)), {
        "rows_in": rows,
        "missing_imputed": {column: count for column, count in gaps.items() if column not in optional},
        "missing_kept": {column: count for column, count in gaps.items() if column in optional},
        "unlabelled_dropped": rows - unknown,
        "order": "event time" if moment is not None else "time",
        "engineered_dropped": sum(column in raw.columns for column in contract.engineered),
    }


def with_history_on_spark(table: Any, contract: Contract, rows: int) -> Any:
    """A table with the column ``ROW_ORDER``, with the columns of its history: see `ml_project.history.with_history`.

    All transactions of an entity come together, with those of others up to about `_TOGETHER` rows.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.types import DoubleType, StructType

    lots = f.lit(-(-rows // _TOGETHER))
    for entity in dict.fromkeys(feature.by for feature in contract.history if feature.by):
        names = [feature.name for feature in contract.history if feature.by == entity]
        if entity not in table.columns:
            table = table.withColumns({name: f.lit(None).cast("double") for name in names})
            continue
        schema = StructType(list(table.schema.fields))
        for name in names:
            schema = schema.add(name, DoubleType())
        # A transaction without a key has no history of it, and may be anywhere.
        lot = f.pmod(f.xxhash64(f.coalesce(quoted(entity), ROW_ORDER)), lots)
        table = table.groupBy(lot.alias("_lot")).applyInArrow(_adding_history(contract, entity), schema)
    return table


def _adding_history(contract: Contract, entity: str) -> Callable[[pa.Table], pa.Table]:
    asked = {name for feature in contract.history for name in (feature.by, *feature.of)}
    wanted = {contract.event_time, contract.label_field, *asked}

    def add(table: pa.Table) -> pa.Table:
        table = table.sort_by(ROW_ORDER)
        frame = table.select([name for name in table.column_names if name in wanted]).to_pandas()
        found = compute_history(contract, Events.of_frame(frame, contract), (entity,))
        for place, feature in enumerate(contract.history):
            if feature.by == entity:
                table = table.append_column(feature.name, pa.array(found[:, place], from_pandas=True))
        return table

    return add


def _words(raw: Any, column: str) -> Any:
    """A column in words; see `columns.category_text`."""
    from pyspark.sql import functions as f

    words, kind = f.trim(f.col(quoted(column)).cast("string")), dict(raw.dtypes)[column]
    if kind not in ("double", "float"):
        return words
    return f.when(words == "NaN", f.lit("")).otherwise(f.regexp_replace(words, r"\.0$", ""))


def _typed(raw: Any, field: ContractField) -> Any:
    """A field of another type than a number as raw transactions have it; null for what it cannot be."""
    from pyspark.sql import functions as f

    words = _words(raw, field.name)
    if field.type == "category":
        place = f.array_position(f.array(*map(f.lit, field.values)), words)
        return f.when(words != "", (place - 1).cast("double"))
    if field.type == "boolean":
        lower = f.lower(words)
        true, false = ([word for word, value in TRUTHS.items() if value == truth] for truth in (1.0, 0.0))
        return f.when(lower.isin(*true), f.lit(1.0)).when(lower.isin(*false), f.lit(0.0))
    moment = f.col(quoted(field.name))
    moment = f.timestamp_micros(f.floor(moment / 1000)) if dict(raw.dtypes)[field.name] == "bigint" else moment
    return f.unix_micros(moment.try_cast("timestamp")) / 1e6


def _label(raw: Any, contract: Contract) -> Any:
    from pyspark.sql import functions as f

    label = contract.label
    words = f.lower(f.coalesce(_words(raw, contract.label_field), f.lit("")))
    words = f.when(words == "true", "1").when(words == "false", "0").otherwise(words)
    positive, negative, unknown = (map(label_word, each) for each in (label.positive, label.negative, label.unknown))
    found = f.when(words.isin(*positive), f.lit(1.0)).when(words.isin(*negative), f.lit(0.0))
    return found.when(words.isin(*unknown), f.lit(float(UNKNOWN))) if label.unknown else found


def learnt_on_spark(raw: Any, contract: Contract) -> dict[str, tuple[str, ...]]:
    """See `ml_project.cleaning.learnt_values`."""
    from pyspark.sql import functions as f

    found = {}
    for name in contract.unlearnt:
        counts = []
        if name in raw.columns:
            rows = (
                raw.groupBy(_words(raw, name).alias("value")).count().orderBy(f.desc("count")).limit(LEARNT_VALUES + 1)
            )
            counts = [(row["value"] or "", row["count"]) for row in rows.collect()]
        found[name] = learn_values(counts) or NO_VALUES
    return found


def _faults(
    contract: Contract,
    values: dict[str, Any],
    absent: dict[str, Any],
    moment: Any,
    missing: str,
    bounds: EventTimeBounds,
) -> list[_Fault]:
    from pyspark.sql import functions as f

    found = []
    types = {field.name: field for field in contract.scored_fields}
    for column, value in values.items():
        field = types.get(column)
        said = "is not a number" if field is None else f"is not {A_VALUE[field.type]}"
        found.append(_Fault(column, ~absent[column] & value.isNull(), said))
        found.append(_Fault(column, f.abs(value) == float("inf"), "is infinite"))
        if field is not None and field.type == "integer":
            found.append(_Fault(column, value != f.floor(value), said))
        if (missing == "reject" or field is None or not field.numeric) and (field is None or field.required):
            found.append(_Fault(column, absent[column], "is missing"))
    for field in contract.scored_fields:
        if field.name not in values:
            continue
        value = values[field.name]
        if field.minimum is not None:
            said = "is negative" if field.minimum == 0 else f"is below {field.minimum:g}"
            found.append(_Fault(field.name, value < field.minimum, said))
        if field.maximum is not None:
            found.append(_Fault(field.name, value > field.maximum, f"is above {field.maximum:g}"))
    label, weight = contract.label_field, contract.weight
    if contract.label.plain:
        found.append(_Fault(label, ~values[label].isin(0.0, 1.0), "is neither 0 nor 1"))
    if weight in values:
        found.append(_Fault(weight, values[weight] <= 0, "is not positive"))
    if moment is not None:
        found.append(_Fault(contract.event_time, moment.isNull(), "is missing or not ISO 8601"))
        outside = (moment < f.lit(bounds.earliest)) | (moment > f.lit(bounds.latest))
        found.append(_Fault(contract.event_time, outside, f"does not lie {bounds}"))
    return found


def _look(
    raw: Any, contract: Contract, absent: dict[str, Any], faults: list[_Fault], name: str
) -> tuple[int, dict[str, int]]:
    """Rows, and the missing values of raw fields that have any; raises if a row has a fault."""
    from pyspark.sql import functions as f

    required = {field.name for field in contract.scored_fields if field.required}
    fields = [column for column in contract.raw_fields if column in absent]
    examples = (f.when(fault.condition, f.col(quoted(fault.column)).cast("string")) for fault in faults)
    rows, *others = raw.agg(
        f.count("*"),
        *(f.count_if(absent[column]) for column in fields),
        *(f.count_if(fault.condition) for fault in faults),
        *(f.first(example, ignorenulls=True) for example in examples),
    ).first()
    if not rows:
        raise InvalidInput(f"{name}: the table has no rows.", "Give a file with transactions.")
    gaps, counts = others[: len(fields)], others[len(fields) :]
    for fault, count, example in zip(faults, counts[: len(faults)], counts[len(faults) :], strict=True):
        if count:
            shown = f" ({example[:40]!r})" if example else ""
            column = "a line" if fault.column == BROKEN else f"column {fault.column}"
            said = f"{name}: {column} {fault.said} in {count:,} rows{shown}."
            raise InvalidInput(said, "Correct or remove them.")
    for column, count in zip(fields, gaps, strict=True):
        if count == rows and column in required:
            raise InvalidInput(f"{name}: column {column} has no value at all.", "Fill it in.")
    return rows, {column: count for column, count in zip(fields, gaps, strict=True) if count}


def _fill(raw: Any, values: dict[str, Any], absent: dict[str, Any], gaps: dict[str, int]) -> dict[str, Any]:
    """Columns with gaps, the gaps filled with the median (right to 1e-5 of the rows)."""
    from pyspark.sql import functions as f

    if not gaps:
        return {}
    present = (f.when(~absent[column], values[column]) for column in gaps)
    medians = raw.agg(*(f.percentile_approx(each, 0.5, 100_000) for each in present)).first()
    pairs = zip(gaps, medians, strict=True)
    return {column: f.when(absent[column], f.lit(median)).otherwise(values[column]) for column, median in pairs}
