"""The rules of `ml_project.cleaning` as Spark expressions: one pass that looks for faults, and a clean table."""

from dataclasses import dataclass
from typing import Any, Literal

from ml_project.cleaning import CLEAN_COLUMNS, check_columns
from ml_project.errors import InvalidInput
from ml_project.schema import ENGINEERED_FEATURES, EVENT_TIME, LABEL, RAW_FEATURES, WEIGHT


@dataclass(frozen=True)
class _Fault:
    """Something that must hold for no row."""

    column: str
    condition: Any
    said: str


def clean_on_spark(raw: Any, missing: Literal["reject", "impute"], name: str) -> tuple[Any, dict[str, Any]]:
    """The clean table, still to be computed, and what of a `CleaningReport` is known before it is.

    Raises
    ------
    InvalidInput
        Naming the first offending column, how many rows offend, and the value in one of them.
    """
    from pyspark.sql import functions as f

    check_columns(raw.limit(1).toPandas(), name)
    present = [column for column in CLEAN_COLUMNS if column in raw.columns]
    values = {column: f.col(column).try_cast("double") for column in present}
    absent = {
        column: f.col(column).isNull() | (f.trim(f.col(column).cast("string")) == "") | f.isnan(value)
        for column, value in values.items()
    }
    moment = _moment(raw) if EVENT_TIME in raw.columns else None
    rows, gaps = _look(raw, absent, _faults(values, absent, moment, missing), name)
    values |= _filled(raw, values, absent, gaps)
    keys = {column: values[column] for column in RAW_FEATURES} | {LABEL: values[LABEL].cast("tinyint")}
    if moment is not None:
        keys[EVENT_TIME] = moment
    weight = values.get(WEIGHT, f.lit(1.0)).alias(WEIGHT)
    table = raw.select(*(value.alias(column) for column, value in keys.items()), weight)
    distinct = table.groupBy(*keys).agg(f.min(WEIGHT).alias(WEIGHT))
    return distinct.select(*CLEAN_COLUMNS, *([EVENT_TIME] if moment is not None else [])), {
        "rows_in": rows,
        "missing_imputed": gaps,
        "engineered_dropped": sum(column in raw.columns for column in ENGINEERED_FEATURES),
    }


def _faults(values: dict[str, Any], absent: dict[str, Any], moment: Any, missing: str) -> list[_Fault]:
    from pyspark.sql import functions as f

    found = []
    for column, value in values.items():
        found.append(_Fault(column, ~absent[column] & value.isNull(), "is no number"))
        found.append(_Fault(column, f.abs(value) == float("inf"), "is infinite"))
        if missing == "reject" or column not in RAW_FEATURES:
            found.append(_Fault(column, absent[column], "is missing"))
    found.append(_Fault("Amount", values["Amount"] < 0, "is negative"))
    found.append(_Fault(LABEL, ~values[LABEL].isin(0.0, 1.0), "is neither 0 nor 1"))
    if WEIGHT in values:
        found.append(_Fault(WEIGHT, values[WEIGHT] <= 0, "is not positive"))
    if moment is not None:
        found.append(_Fault(EVENT_TIME, moment.isNull(), "is missing or not ISO 8601"))
    return found


def _look(raw: Any, absent: dict[str, Any], faults: list[_Fault], name: str) -> tuple[int, dict[str, int]]:
    """Rows, and the missing values of raw fields that have any; raises what the faults say."""
    from pyspark.sql import functions as f

    examples = (f.when(fault.condition, f.col(fault.column).cast("string")) for fault in faults)
    rows, *others = raw.agg(
        f.count("*"),
        *(f.count_if(absent[column]) for column in RAW_FEATURES),
        *(f.count_if(fault.condition) for fault in faults),
        *(f.first(example, ignorenulls=True) for example in examples),
    ).first()
    if not rows:
        raise InvalidInput(f"{name}: the table has no rows.", "Give a file with transactions.")
    gaps, counts = others[: len(RAW_FEATURES)], others[len(RAW_FEATURES) :]
    for fault, count, example in zip(faults, counts[: len(faults)], counts[len(faults) :], strict=True):
        if count:
            quoted = f" ({example[:40]!r})" if example else ""
            said = f"{name}: column {fault.column} {fault.said} in {count:,} rows{quoted}."
            raise InvalidInput(said, "Correct or remove them.")
    for column, count in zip(RAW_FEATURES, gaps, strict=True):
        if count == rows:
            raise InvalidInput(f"{name}: column {column} has no value at all.", "Fill it in.")
    return rows, {column: count for column, count in zip(RAW_FEATURES, gaps, strict=True) if count}


def _filled(raw: Any, values: dict[str, Any], absent: dict[str, Any], gaps: dict[str, int]) -> dict[str, Any]:
    """Columns with gaps, the gaps filled with the median (right to 1e-5 of the rows)."""
    from pyspark.sql import functions as f

    if not gaps:
        return {}
    present = (f.when(~absent[column], values[column]) for column in gaps)
    medians = raw.agg(*(f.percentile_approx(each, 0.5, 100_000) for each in present)).first()
    pairs = zip(gaps, medians, strict=True)
    return {column: f.when(absent[column], f.lit(median)).otherwise(values[column]) for column, median in pairs}


def _moment(raw: Any) -> Any:
    from pyspark.sql import functions as f

    if dict(raw.dtypes)[EVENT_TIME] == "bigint":  # nanoseconds
        return f.timestamp_micros(f.floor(f.col(EVENT_TIME) / 1000))
    return f.col(EVENT_TIME).try_cast("timestamp")
