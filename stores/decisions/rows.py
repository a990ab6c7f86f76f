"""Between records and rows of the tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Connection, String, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from stores.decisions.records import DecisionRecord, Found, Label, pack_inputs, unpack_inputs

_FIELDS: Final = tuple(field.name for field in fields(DecisionRecord))
_MARKS: Final[dict[str, Any]] = {"spooled": False, "segment_id": None, "duplicate_of": None, "conflicts_with": None}

SHARED: Final = (
    "received_at",
    "alert_threshold",
    "decline_threshold",
    "model_version",
    "bundle_digest",
    "latency_ms",
    "request_id",
    "key_name",
)
"""Fields that a segment has once for all its rows."""

LISTED: Final = "listed"


def to_row(record: DecisionRecord, **marks: Any) -> dict[str, Any]:
    """A row of the table predictions."""
    row = {name: getattr(record, name) for name in _FIELDS}
    row["inputs"] = pack_inputs(record.inputs)
    return row | _MARKS | marks


def to_record(row: Mapping[Any, Any]) -> DecisionRecord:
    """The record of a row of the table predictions."""
    return DecisionRecord(**{name: row[name] for name in _FIELDS} | {"inputs": unpack_inputs(row["inputs"])})


def to_found(row: Mapping[Any, Any], label: Label | None) -> Found:
    """The same with all that is known about it."""
    return Found(to_record(row), label, **{name: row[name] for name in _MARKS})


def to_label(row: Mapping[Any, Any]) -> Label:
    """A row of the table labels."""
    return Label(row["prediction_id"], row["label"], row["labelled_at"], row["reviewer"], row["source"])


def one_of(connection: Connection, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """``column IN values`` with one parameter for all of them: no limit on their number, one cached statement."""
    dialect = connection.dialect.name
    return _among(dialect, column, bindparam(None, listed(dialect, values), _type(dialect)))


def among(dialect: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """The same for a statement that is built once: its parameter `LISTED` takes what `listed` makes of the values."""
    return _among(dialect, column, bindparam(LISTED, type_=_type(dialect)))


def listed(dialect: str, values: Sequence[str]) -> str | list[str]:
    """Values as one parameter."""
    return json.dumps(values) if dialect == "sqlite" else list(values)


def _among(dialect: str, column: ColumnElement[Any], values: BindParameter[Any]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return column.in_(select(func.json_each(values).table_valued("value").c.value))
    # Not "= ANY(values)", which PostgreSQL may compare one by one with every row: seconds for 10,000 values.
    return column.in_(select(func.unnest(values)))


def _type(dialect: str) -> Any:
    return String() if dialect == "sqlite" else ARRAY(String)
