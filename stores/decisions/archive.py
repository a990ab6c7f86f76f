"""Decisions as Arrow tables of bounded size: for monitoring, for retraining, and as Parquet before old ones are
deleted.

Three kinds: the decisions themselves with their newest label; what a challenger would have decided on them (the table
shadow_decisions); and exports, after which only what the files hold is deleted.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, tuple_

from ml_project.contract import OUTPUTS
from ml_project.errors import InvalidInput
from stores.decisions.reads import newest_labels
from stores.decisions.schema import labels, predictions, segments, shadow_decisions, transactions
from stores.decisions.segments import MAX_ROWS, SHARED, raw_fields_of, read_content, segment_prediction_ids
from stores.files import replacing
from stores.sql import one_of

ROWS: Final = 5_000
"""Single predictions in one table."""

_TIME, _TEXT, _NUMBER = pa.timestamp("us", "UTC"), pa.string(), pa.float64()

_BEFORE: Final = (("prediction_id", _TEXT), ("transaction_id", _TEXT), ("received_at", _TIME), ("event_time", _TIME))
_AFTER: Final = (
    *((name, _NUMBER) for name in OUTPUTS),
    ("alert_threshold", _NUMBER),
    ("decline_threshold", _NUMBER),
    ("decision", _TEXT),
    ("reasons", _TEXT),
    ("model_version", _TEXT),
    ("bundle_digest", _TEXT),
    ("latency_ms", _NUMBER),
    ("request_id", _TEXT),
    ("key_name", _TEXT),
    ("segment_id", _TEXT),
    ("spooled", pa.bool_()),
    ("duplicate_of", _TEXT),
    ("conflicts_with", _TEXT),
    ("review_rate", _NUMBER),
    ("label", pa.int8()),
    ("labelled_at", _TIME),
    ("reviewer", _TEXT),
)


def schema_of(fields: Sequence[str]) -> Any:
    """Columns of every table: the decision, its raw fields one by one, and the newest label.

    ``review_rate`` is explained at the table predictions: one over it is what a label weighs.
    """
    return pa.schema([*_BEFORE, *((name, _NUMBER) for name in fields), *_AFTER])


def tables(
    connection: Connection, fields: Sequence[str], since: datetime | None, until: datetime | None
) -> Iterator[Any]:
    """Single predictions by time, then segments by time; each prediction once."""
    yield from _singles(connection, fields, predictions.c.received_at, _within(predictions.c.received_at, since, until))
    yield from _segments(connection, fields, _within(segments.c.received_at, since, until))


def tables_by_event_time(
    connection: Connection, fields: Sequence[str], since: datetime, until: datetime
) -> Iterator[Any]:
    """The same by when transactions happened: by ``event_time``, and by ``received_at`` where there is none."""
    received, happened = predictions.c.received_at, predictions.c.event_time
    yield from _singles(connection, fields, received, [happened.is_(None), *_within(received, since, until)])
    yield from _singles(connection, fields, happened, [happened.is_not(None), *_within(happened, since, until)])
    columns = segments.c
    without = columns.first_event_time.is_(None), *_within(columns.received_at, since, until)
    overlapping = columns.last_event_time >= since, columns.first_event_time < until
    for table in _segments(connection, fields, [or_(and_(*without), and_(*overlapping))]):
        moments = compute.coalesce(table["event_time"], table["received_at"])
        inside = compute.and_(
            compute.greater_equal(moments, pa.scalar(since, _TIME)), compute.less(moments, pa.scalar(until, _TIME))
        )
        yield table.filter(inside)


def _singles(
    connection: Connection, fields: Sequence[str], moment: ColumnElement[Any], conditions: list[Any]
) -> Iterator[Any]:
    columns, schema = predictions.c, schema_of(fields)
    key = moment, columns.prediction_id
    # What pages list of a segment comes with the segment.
    query = select(predictions).where(columns.segment_id.is_(None), *conditions)
    rows: list[Any] = connection.execute(query.order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]
    while rows:
        listed = [dict(row._mapping) for row in rows]
        inputs = np.frombuffer(b"".join(row.pop("inputs") for row in listed), dtype="<f8")
        for row in listed:
            del row["labelled"]  # the label itself comes with it
            row["reasons"] = None if row["reasons"] is None else json.dumps(row["reasons"])
        filled = {name: pa.array([row[name] for row in listed], schema.field(name).type) for name in listed[0]}
        _require_fields(len(fields), len(inputs) // len(listed))
        filled |= dict(zip(fields, map(pa.array, inputs.reshape(len(listed), -1).T), strict=True))
        yield _labelled(connection, schema, filled, [row["prediction_id"] for row in listed])
        last = rows[-1]
        after = tuple_(*key) > tuple_(last._mapping[moment], last.prediction_id)
        rows = connection.execute(query.where(after).order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]


def _segments(connection: Connection, fields: Sequence[str], conditions: list[Any]) -> Iterator[Any]:
    columns, schema = segments.c, schema_of(fields)
    chosen = select(columns.segment_id).where(*conditions)
    for segment_id in connection.scalars(chosen.order_by(columns.received_at, columns.segment_id)).all():
        segment = connection.execute(select(segments).where(columns.segment_id == segment_id)).one()
        content = read_content(segment_id, segment.content, segment.sha256)
        ids = segment_prediction_ids(segment_id, segment.rows)
        if raw_fields_of(content) != [*fields]:
            raise _other_contract()
        same = {name: segment._mapping[name] for name in (*SHARED, "segment_id", "spooled")}
        filled = {
            name: pa.repeat(pa.scalar(value, schema.field(name).type), segment.rows) for name, value in same.items()
        }
        filled |= {name: content.column(name) for name in content.column_names}
        marks = segment.marks or {}
        for place, name in enumerate(("duplicate_of", "conflicts_with")):
            values = [marks[str(row)][place] if str(row) in marks else None for row in range(segment.rows)]
            filled[name] = pa.array(values, _TEXT)
        filled["prediction_id"] = pa.array(ids, _TEXT)
        filled["review_rate"] = pa.array(_review_rates(connection, ids), _NUMBER)
        yield _labelled(connection, schema, filled, ids)


def _require_fields(wanted: int, kept: int) -> None:
    if wanted != kept:
        raise _other_contract()


def _other_contract() -> InvalidInput:
    return InvalidInput(
        "The decision database holds decisions on transactions of another contract.",
        "Set FRAUD_CONTRACT to theirs, or give another contract a database of its own (FRAUD_DATABASE_URL).",
    )


def _review_rates(connection: Connection, ids: list[str]) -> list[float | None]:
    """Of a segment's rows; those that go to review stand in the table predictions, too."""
    columns = predictions.c
    inside = columns.prediction_id.between(ids[0], ids[-1])
    rows = connection.execute(select(columns.prediction_id, columns.review_rate).where(inside))
    rates: dict[str, float | None] = {row.prediction_id: row.review_rate for row in rows}
    return [rates.get(prediction_id) for prediction_id in ids]


def _labelled(connection: Connection, schema: Any, filled: dict[str, Any], ids: list[str]) -> Any:
    newest = newest_labels(connection, ids)
    for name in ("label", "labelled_at", "reviewer"):
        values = [getattr(newest.get(prediction_id), name, None) for prediction_id in ids]
        filled[name] = pa.array(values, schema.field(name).type)
    missing = {name: pa.nulls(len(ids), schema.field(name).type) for name in schema.names if name not in filled}
    return pa.table({name: (filled | missing)[name] for name in schema.names}, schema)


def _within(column: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    lower = [] if since is None else [column >= since]
    return lower if until is None else [*lower, column < until]


SHADOW_ROWS: Final = 20_000
"""Decisions in one table."""

SHADOW_SCHEMA: Final = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("received_at", pa.timestamp("us", "UTC")),
        ("model_version", pa.string()),
        ("bundle_digest", pa.string()),
        *((name, pa.float64()) for name in OUTPUTS),
        ("decision", pa.string()),
    ]
)
"""Columns of every table; ``prediction_id`` and ``received_at`` are those of the champion's decision."""

_ADD: Final = insert(shadow_decisions)


class ShadowDecision(NamedTuple):
    """One transaction as a challenger scored it; ``prediction_id`` names the champion's decision on it."""

    prediction_id: str
    received_at: datetime
    model_version: str
    bundle_digest: str
    isolation_score: float
    boosted_score: float
    hybrid_score: float
    fraud_probability: float
    decision: str


def add_shadow(connection: Connection, decisions: Sequence[ShadowDecision]) -> None:
    """Insert them."""
    connection.execute(_ADD, [decision._asdict() for decision in decisions])


def shadow_tables(connection: Connection, since: datetime | None, until: datetime | None) -> Iterator[Any]:
    """Decisions received in [since, until), by time."""
    columns = shadow_decisions.c
    key = columns.received_at, columns.prediction_id
    query = select(shadow_decisions).order_by(*key).limit(SHADOW_ROWS)
    if since is not None:
        query = query.where(columns.received_at >= since)
    if until is not None:
        query = query.where(columns.received_at < until)
    rows = connection.execute(query).all()
    while rows:
        yield pa.Table.from_pylist([dict(row._mapping) for row in rows], SHADOW_SCHEMA)
        last = rows[-1]
        rows = connection.execute(query.where(tuple_(*key) > tuple_(last.received_at, last.prediction_id))).all()


def shadow_of(connection: Connection, prediction_ids: Sequence[str]) -> Any:
    """Decisions on these predictions of the champion."""
    query = select(shadow_decisions).where(one_of(connection, shadow_decisions.c.prediction_id, prediction_ids))
    return pa.Table.from_pylist([dict(row._mapping) for row in connection.execute(query)], SHADOW_SCHEMA)


def remove_shadow(connection: Connection, prediction_ids: Sequence[str]) -> None:
    """Delete what was decided on these."""
    connection.execute(
        delete(shadow_decisions).where(one_of(connection, shadow_decisions.c.prediction_id, prediction_ids))
    )


_LABELS: Final = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("label", pa.int8()),
        ("labelled_at", pa.timestamp("us", "UTC")),
        ("reviewer", pa.string()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote; the three paths are Parquet files, None where there was nothing to write."""

    rows: int = 0
    decisions: Path | None = None
    labels: Path | None = None
    last_label: int = 0
    shadow: Path | None = None


def export(connection: Connection, fields: Sequence[str], older_than: datetime, folder: Path) -> Exported:
    """Write decisions received before a moment, the whole history of their labels, and challengers' decisions.

    The files appear whole or not at all. Each row group of ``decisions`` is one group of single predictions or one
    segment.
    """
    last_label = connection.scalar(select(func.max(labels.c.label_id))) or 0
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    challenged = _shadow(connection, older_than, folder / f"shadow-{now}.parquet")
    found = tables(connection, fields, None, older_than)
    first = next(found, None)
    if first is None:
        return Exported(shadow=challenged)
    decided, labelled = folder / f"decisions-{now}.parquet", folder / f"labels-{now}.parquet"
    rows = 0
    with ExitStack() as stack:
        history = stack.enter_context(_whole(labelled, _LABELS))
        decisions = stack.enter_context(_whole(decided, schema_of(fields)))
        table: Any = first
        while table is not None:
            decisions.write_table(table, row_group_size=MAX_ROWS)
            history.write_table(_history(connection, table.column("prediction_id").to_pylist(), last_label))
            rows += table.num_rows
            table = next(found, None)
    return Exported(rows, decided, labelled, last_label, challenged)


def deletions(exported: Exported) -> Iterator[Callable[[Connection], None]]:
    """One step per row group, each for a separate transaction, so that a purge never blocks the gateway for long."""
    if exported.shadow is not None:
        with pq.ParquetFile(exported.shadow) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, ["prediction_id"]).column(0).to_pylist()
                yield lambda connection, ids=ids: remove_shadow(connection, ids)  # type: ignore[misc]
    if exported.decisions is None:
        return
    with pq.ParquetFile(exported.decisions) as file:
        for group in range(file.num_row_groups):
            names = file.read_row_group(group, ["prediction_id", "transaction_id", "segment_id"]).to_pydict()
            yield lambda connection, names=names: _delete(connection, names, exported.last_label)  # type: ignore[misc]


def _delete(connection: Connection, names: dict[str, list[str | None]], last_label: int) -> None:
    prediction_ids, transaction_ids, segment_ids = (
        sorted({name for name in names[column] if name is not None})
        for column in ("prediction_id", "transaction_id", "segment_id")
    )
    mine = one_of(connection, transactions.c.prediction_id, prediction_ids)
    connection.execute(
        delete(transactions).where(one_of(connection, transactions.c.transaction_id, transaction_ids), mine)
    )
    connection.execute(delete(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids)))
    connection.execute(delete(segments).where(one_of(connection, segments.c.segment_id, segment_ids)))
    said = one_of(connection, labels.c.prediction_id, prediction_ids)
    connection.execute(delete(labels).where(said, labels.c.label_id <= last_label))


def _shadow(connection: Connection, older_than: datetime, path: Path) -> Path | None:
    found = shadow_tables(connection, None, older_than)
    table: Any = next(found, None)
    if table is None:
        return None
    with _whole(path, SHADOW_SCHEMA) as file:
        while table is not None:
            file.write_table(table)
            table = next(found, None)
    return path


def _history(connection: Connection, prediction_ids: list[str], last_label: int) -> Any:
    columns = [labels.c[name] for name in _LABELS.names]
    said = one_of(connection, labels.c.prediction_id, prediction_ids), labels.c.label_id <= last_label
    rows = connection.execute(select(*columns).where(*said).order_by(labels.c.label_id)).all()
    return pa.Table.from_pylist([dict(row._mapping) for row in rows], _LABELS)


@contextmanager
def _whole(path: Path, schema: Any) -> Iterator[Any]:
    """A Parquet writer whose file appears under its name when all is written and on disk."""
    with replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer
