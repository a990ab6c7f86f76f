"""Decisions as Arrow tables of bounded size: for monitors, for retraining, and for the export before a purge."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import compute
from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_

from ml_project.schema import OUTPUTS, RAW_FEATURES
from stores.decisions.lookup import newest_labels
from stores.decisions.rows import SHARED
from stores.decisions.schema import predictions, segments
from stores.decisions.segment_ids import segment_prediction_ids
from stores.decisions.segments import read_content

ROWS: Final = 5_000
"""Single predictions in one table."""

_TIME, _TEXT, _NUMBER = pa.timestamp("us", "UTC"), pa.string(), pa.float64()

SCHEMA: Final = pa.schema(
    [
        ("prediction_id", _TEXT),
        ("transaction_id", _TEXT),
        ("received_at", _TIME),
        ("event_time", _TIME),
        *((name, _NUMBER) for name in RAW_FEATURES),
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
    ]
)
"""Columns of every table: the decision, its 30 inputs one by one, and the newest label.

``review_rate`` is explained at the table predictions: one over it is what a label weighs."""


def tables(connection: Connection, since: datetime | None, until: datetime | None) -> Iterator[Any]:
    """Single predictions by time, then segments by time; each prediction once."""
    yield from _singles(connection, predictions.c.received_at, _within(predictions.c.received_at, since, until))
    yield from _segments(connection, _within(segments.c.received_at, since, until))


def tables_by_event_time(connection: Connection, since: datetime, until: datetime) -> Iterator[Any]:
    """The same by when transactions happened: by ``event_time``, and by ``received_at`` where there is none."""
    received, happened = predictions.c.received_at, predictions.c.event_time
    yield from _singles(connection, received, [happened.is_(None), *_within(received, since, until)])
    yield from _singles(connection, happened, [happened.is_not(None), *_within(happened, since, until)])
    columns = segments.c
    without = columns.first_event_time.is_(None), *_within(columns.received_at, since, until)
    overlapping = columns.last_event_time >= since, columns.first_event_time < until
    for table in _segments(connection, [or_(and_(*without), and_(*overlapping))]):
        moments = compute.coalesce(table["event_time"], table["received_at"])
        inside = compute.and_(
            compute.greater_equal(moments, pa.scalar(since, _TIME)), compute.less(moments, pa.scalar(until, _TIME))
        )
        yield table.filter(inside)


def _singles(connection: Connection, moment: ColumnElement[Any], conditions: list[Any]) -> Iterator[Any]:
    columns = predictions.c
    key = moment, columns.prediction_id
    # What pages list of a segment comes with the segment.
    query = select(predictions).where(columns.segment_id.is_(None), *conditions)
    rows: list[Any] = connection.execute(query.order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]
    while rows:
        listed = [dict(row._mapping) for row in rows]
        inputs = np.frombuffer(b"".join(row.pop("inputs") for row in listed), dtype="<f8")
        for row in listed:
            row["reasons"] = None if row["reasons"] is None else json.dumps(row["reasons"])
        filled = {name: pa.array([row[name] for row in listed], SCHEMA.field(name).type) for name in listed[0]}
        filled |= dict(zip(RAW_FEATURES, map(pa.array, inputs.reshape(len(listed), -1).T), strict=True))
        yield _labelled(connection, filled, [row["prediction_id"] for row in listed])
        last = rows[-1]
        after = tuple_(*key) > tuple_(last._mapping[moment], last.prediction_id)
        rows = connection.execute(query.where(after).order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]


def _segments(connection: Connection, conditions: list[Any]) -> Iterator[Any]:
    columns = segments.c
    chosen = select(columns.segment_id).where(*conditions)
    for segment_id in connection.scalars(chosen.order_by(columns.received_at, columns.segment_id)).all():
        segment = connection.execute(select(segments).where(columns.segment_id == segment_id)).one()
        content = read_content(segment_id, segment.content, segment.sha256)
        ids = segment_prediction_ids(segment_id, segment.rows)
        same = {name: segment._mapping[name] for name in (*SHARED, "segment_id", "spooled")}
        filled = {
            name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), segment.rows) for name, value in same.items()
        }
        filled |= {name: content.column(name) for name in content.column_names}
        marks = segment.marks or {}
        for place, name in enumerate(("duplicate_of", "conflicts_with")):
            values = [marks[str(row)][place] if str(row) in marks else None for row in range(segment.rows)]
            filled[name] = pa.array(values, _TEXT)
        filled["prediction_id"] = pa.array(ids, _TEXT)
        filled["review_rate"] = pa.array(_review_rates(connection, ids), _NUMBER)
        yield _labelled(connection, filled, ids)


def _review_rates(connection: Connection, ids: list[str]) -> list[float | None]:
    """Of a segment's rows; those that go to review stand in the table predictions, too."""
    columns = predictions.c
    inside = columns.prediction_id.between(ids[0], ids[-1])
    rows = connection.execute(select(columns.prediction_id, columns.review_rate).where(inside))
    rates: dict[str, float | None] = {row.prediction_id: row.review_rate for row in rows}
    return [rates.get(prediction_id) for prediction_id in ids]


def _labelled(connection: Connection, filled: dict[str, Any], ids: list[str]) -> Any:
    newest = newest_labels(connection, ids)
    for name in ("label", "labelled_at", "reviewer"):
        values = [getattr(newest.get(prediction_id), name, None) for prediction_id in ids]
        filled[name] = pa.array(values, SCHEMA.field(name).type)
    missing = {name: pa.nulls(len(ids), SCHEMA.field(name).type) for name in SCHEMA.names if name not in filled}
    return pa.table({name: (filled | missing)[name] for name in SCHEMA.names}, SCHEMA)


def _within(column: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    lower = [] if since is None else [column >= since]
    return lower if until is None else [*lower, column < until]
