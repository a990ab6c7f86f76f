"""What a challenger would have decided on transactions that the champion answered; see the table shadow_decisions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa
from sqlalchemy import Connection, delete, insert, select, tuple_

from ml_project.schema import OUTPUTS
from stores.decisions.rows import one_of
from stores.decisions.schema import shadow_decisions

ROWS: Final = 20_000
"""Decisions in one table."""

SCHEMA: Final = pa.schema(
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


def add(connection: Connection, decisions: Sequence[ShadowDecision]) -> None:
    """Insert them."""
    connection.execute(_ADD, [decision._asdict() for decision in decisions])


def tables(connection: Connection, since: datetime | None, until: datetime | None) -> Iterator[Any]:
    """Decisions received in [since, until), by time."""
    columns = shadow_decisions.c
    key = columns.received_at, columns.prediction_id
    query = select(shadow_decisions).order_by(*key).limit(ROWS)
    if since is not None:
        query = query.where(columns.received_at >= since)
    if until is not None:
        query = query.where(columns.received_at < until)
    rows = connection.execute(query).all()
    while rows:
        yield pa.Table.from_pylist([dict(row._mapping) for row in rows], SCHEMA)
        last = rows[-1]
        rows = connection.execute(query.where(tuple_(*key) > tuple_(last.received_at, last.prediction_id))).all()


def of(connection: Connection, prediction_ids: Sequence[str]) -> Any:
    """Decisions on these predictions of the champion."""
    query = select(shadow_decisions).where(one_of(connection, shadow_decisions.c.prediction_id, prediction_ids))
    return pa.Table.from_pylist([dict(row._mapping) for row in connection.execute(query)], SCHEMA)


def remove(connection: Connection, prediction_ids: Sequence[str]) -> None:
    """Delete what was decided on these."""
    connection.execute(
        delete(shadow_decisions).where(one_of(connection, shadow_decisions.c.prediction_id, prediction_ids))
    )
