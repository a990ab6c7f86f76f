"""Decisions as Arrow tables of bounded size: for monitoring, for retraining, and as Parquet before old ones are
deleted.

Three kinds: the decisions themselves with their newest label; what a challenger would have decided on them (the table
shadow_decisions); and exports, after which only what the files hold is deleted. All of one contract, whatever else the
database holds; its versions' decisions come in the columns of the one that is asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import compute
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, tuple_

from ml_project.contract import Contract
from ml_project.contract_parts import OUTPUTS
from ml_project.errors import InvalidInput
from stores.decisions.reads import Scope, contracts_of, newest_labels, scope_of
from stores.decisions.records import TEXTS, TRIAL, KeptContract
from stores.decisions.schema import labels, predictions, segments, shadow_decisions, transactions
from stores.decisions.segments import MAX_ROWS, SHARED, numbers_of, read_content, segment_prediction_ids
from stores.decisions.writes import transaction_key
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
    ("history_partial", pa.bool_()),
    ("source", _TEXT),
    ("duplicate_of", _TEXT),
    ("conflicts_with", _TEXT),
    ("review_rate", _NUMBER),
    ("label", pa.int8()),
    ("labelled_at", _TIME),
    ("reviewer", _TEXT),
)


_TYPES: Final[Mapping[str, Any]] = {
    "number": _NUMBER,
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": _TIME,
    "category": pa.dictionary(pa.int32(), _TEXT),
    "string": _TEXT,
}
"""What the values of a field become, by its type."""


def schema_of(contract: Contract) -> Any:
    """Columns of every table: the decision, what is kept of its transaction field by field, and the newest label.

    ``review_rate`` is explained at the table predictions: one over it is what a label weighs.
    """
    own = dict(_BEFORE)
    fields = ((field.name, _TYPES[field.type]) for field in contract.kept_fields if field.name not in own)
    return pa.schema([*_BEFORE, *fields, *_AFTER])


def tables(
    connection: Connection,
    contract: Contract,
    since: datetime | None,
    until: datetime | None,
    *,
    trials: bool = False,
) -> Iterator[Any]:
    """Single predictions by time, then segments by time; each prediction once, ``trials`` among them or not."""
    received, begun = predictions.c.received_at, segments.c.received_at
    single, bulk = ([], []) if trials else ([_TRAFFIC], [_BULK_TRAFFIC])
    yield from _singles(connection, contract, received, [*single, *_within(received, since, until)])
    yield from _segments(connection, contract, [*bulk, *_within(begun, since, until)])


_TRAFFIC: Final = predictions.c.source != TRIAL
_BULK_TRAFFIC: Final = segments.c.source != TRIAL


def tables_by_event_time(connection: Connection, contract: Contract, since: datetime, until: datetime) -> Iterator[Any]:
    """The same by when transactions happened: by ``event_time``, by ``received_at`` where there is none; no trials."""
    received, happened = predictions.c.received_at, predictions.c.event_time
    yield from _singles(
        connection, contract, received, [_TRAFFIC, happened.is_(None), *_within(received, since, until)]
    )
    yield from _singles(
        connection, contract, happened, [_TRAFFIC, happened.is_not(None), *_within(happened, since, until)]
    )
    columns = segments.c
    without = columns.first_event_time.is_(None), *_within(columns.received_at, since, until)
    overlapping = columns.last_event_time >= since, columns.first_event_time < until
    for table in _segments(connection, contract, [_BULK_TRAFFIC, or_(and_(*without), and_(*overlapping))]):
        moments = compute.coalesce(table["event_time"], table["received_at"])
        inside = compute.and_(
            compute.greater_equal(moments, pa.scalar(since, _TIME)), compute.less(moments, pa.scalar(until, _TIME))
        )
        yield table.filter(inside)


_QUEUE: Final = ("labelled", "amount", "expected_loss", "entity")
"""Columns that serve the review queue alone: the label itself, and the fields, come with the rest."""


def _singles(
    connection: Connection, contract: Contract, moment: ColumnElement[Any], conditions: list[Any]
) -> Iterator[Any]:
    columns, schema = predictions.c, schema_of(contract)
    key = moment, columns.prediction_id
    mine = scope_of(connection, contract.contract).within(connection, columns.bundle_digest)
    # What pages list of a segment comes with the segment.
    query = select(predictions).where(columns.segment_id.is_(None), *mine, *conditions)
    rows: list[Any] = connection.execute(query.order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]
    while rows:
        listed = [dict(row._mapping) for row in rows]
        kept = contracts_of(connection, {row["bundle_digest"] for row in listed})
        inputs = _unpacked([(row.pop("inputs"), kept[row["bundle_digest"]]) for row in listed], contract)
        for row in listed:
            for name in _QUEUE:
                del row[name]
            row["reasons"] = None if row["reasons"] is None else json.dumps(row["reasons"])
        filled = {name: pa.array([row[name] for row in listed], schema.field(name).type) for name in listed[0]}
        yield _labelled(connection, schema, inputs | filled, [row["prediction_id"] for row in listed])
        last = rows[-1]
        after = tuple_(*key) > tuple_(last._mapping[moment], last.prediction_id)
        rows = connection.execute(query.where(after).order_by(*key).limit(ROWS)).all()  # type: ignore[assignment]


def _segments(connection: Connection, contract: Contract, conditions: list[Any]) -> Iterator[Any]:
    columns, schema = segments.c, schema_of(contract)
    mine = scope_of(connection, contract.contract).within(connection, columns.bundle_digest)
    chosen = select(columns.segment_id).where(*mine, *conditions)
    for segment_id in connection.scalars(chosen.order_by(columns.received_at, columns.segment_id)).all():
        segment = connection.execute(select(segments).where(columns.segment_id == segment_id)).one()
        content = read_content(segment_id, segment.content, segment.sha256)
        ids = segment_prediction_ids(segment_id, segment.rows)
        kept = contracts_of(connection, [segment.bundle_digest])[segment.bundle_digest]
        same = {name: segment._mapping[name] for name in (*SHARED, "segment_id", "spooled")}
        filled = {
            name: pa.repeat(pa.scalar(value, schema.field(name).type), segment.rows) for name, value in same.items()
        }
        texts = {kept.names[place] for place in kept.texts}
        scored = {name: content.column(name) if name in texts else numbers_of(content, name) for name in kept.names}
        filled |= {name: content.column(name) for name in content.column_names if name in schema.names}
        filled |= {
            name: values
            for name, values in _typed(scored, kept, contract, segment.rows).items()
            if name not in dict(_BEFORE)
        }
        marks = segment.marks or {}
        for place, name in enumerate(("duplicate_of", "conflicts_with")):
            values = [marks[str(row)][place] if str(row) in marks else None for row in range(segment.rows)]
            filled[name] = pa.array(values, _TEXT)
        filled["prediction_id"] = pa.array(ids, _TEXT)
        filled["review_rate"] = pa.array(_review_rates(connection, ids), _NUMBER)
        yield _labelled(connection, schema, filled, ids)


def _unpacked(packed: Sequence[tuple[bytes, KeptContract]], contract: Contract) -> dict[str, Any]:
    """Columns of packed inputs, each with the contract that they were packed under."""
    places: dict[str, list[int]] = {}
    for place, (_content, kept) in enumerate(packed):
        places.setdefault(kept.digest, []).append(place)
    parts = []
    for chosen in places.values():
        kept = packed[chosen[0]][1]
        contents = [packed[place][0] for place in chosen]
        numbers = np.frombuffer(b"".join(content[: kept.number_bytes] for content in contents), dtype="<f8")
        columns = dict(
            zip([kept.names[place] for place in kept.numbers], numbers.reshape(len(chosen), -1).T, strict=True)
        )
        texts = [json.loads(content[kept.number_bytes :]) for content in contents] if kept.texts else []
        for column, place in enumerate(kept.texts):
            columns[kept.names[place]] = pa.array([row[column] for row in texts], _TEXT)
        parts.append(_typed(columns, kept, contract, len(chosen)))
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(list(places.values())))
    return {
        name: pa.chunked_array([part[name] for part in parts]).unify_dictionaries().combine_chunks().take(order)
        for name in parts[0]
    }


def _typed(columns: Mapping[str, Any], kept: KeptContract, contract: Contract, rows: int) -> dict[str, Any]:
    """Columns of what was kept under one version of a contract, as another version has them.

    Raises
    ------
    InvalidInput
        When a field that must be there was not, or was of another type.
    """
    types, found = dict(kept.fields), {}
    for field in contract.kept_fields:
        if types.get(field.name, None if field.required else field.type) != field.type:
            was = f"was {types[field.name]}" if field.name in types else "was not there"
            raise InvalidInput(
                f"The decision database holds decisions under {kept.name}, version {kept.version}, "
                f"in which the field {field.name}, {field.type} in version {contract.version}, {was}.",
                "Give the changed contract another name, or `python -m serving purge` with it as it was.",
            )
        if field.name not in types:
            found[field.name] = pa.nulls(rows, _TYPES[field.type])
        elif field.type in TEXTS:
            texts = columns[field.name]
            texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
            found[field.name] = texts.dictionary_encode() if types[field.name] == "category" else texts
        else:
            found[field.name] = _numbers(np.asarray(columns[field.name]), field.type, field.required)
    return found


def _numbers(values: NDArray[np.float64], type_: str, required: bool) -> Any:
    """Numbers of a type; NaN is none."""
    absent = None if required else np.isnan(values)
    if type_ == "number":
        return pa.array(values, mask=absent)
    if type_ == "timestamp":  # seconds since 1970
        microseconds = np.round(np.where(np.isnan(values), 0, values) * 1e6).astype(np.int64)
        return pa.array(microseconds, mask=absent).cast(_TIME)
    whole = pa.array(np.where(np.isnan(values), 0, values).astype(np.int64), mask=absent)
    return whole.cast(_TYPES[type_])


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


def shadow_tables(
    connection: Connection, since: datetime | None, until: datetime | None, contract: str | None = None
) -> Iterator[Any]:
    """Decisions received in [since, until), by time; on predictions under one contract only, if it is named."""
    columns = shadow_decisions.c
    key = columns.received_at, columns.prediction_id
    mine = scope_of(connection, contract).about(connection, columns.prediction_id)
    query = select(shadow_decisions).where(*mine).order_by(*key).limit(SHADOW_ROWS)
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
    scope: str = ""
    """See the table contracts."""
    past: int = 0
    """Past transactions that were deleted, as no feature can ask for them any more; no file has them."""


CONTRACTS: Final = b"fraud.contracts"
"""Key in the metadata of an export: the contracts themselves, and which of them each bundle had."""


def export(connection: Connection, contract: Contract, older_than: datetime, folder: Path) -> Exported:
    """Write decisions received before a moment, the whole history of their labels, and challengers' decisions.

    The files appear whole or not at all. Each row group of ``decisions`` is one group of single predictions or one
    segment. Beside them the file holds the contracts (`CONTRACTS`), so that it says itself what it is about.
    """
    scope = scope_of(connection, contract.contract)
    last_label = connection.scalar(select(func.max(labels.c.label_id))) or 0
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    challenged = _shadow(connection, contract, older_than, folder / f"shadow-{now}.parquet")
    found = tables(connection, contract, None, older_than, trials=True)
    first = next(found, None)
    if first is None:
        return Exported(shadow=challenged)
    schema = schema_of(contract).with_metadata({CONTRACTS: _described(connection, scope)})
    decided, labelled = folder / f"decisions-{now}.parquet", folder / f"labels-{now}.parquet"
    rows = 0
    with ExitStack() as stack:
        history = stack.enter_context(_whole(labelled, _LABELS))
        decisions = stack.enter_context(_whole(decided, schema))
        table: Any = first
        while table is not None:
            decisions.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=MAX_ROWS)
            history.write_table(_history(connection, table.column("prediction_id").to_pylist(), last_label))
            rows += table.num_rows
            table = next(found, None)
    return Exported(rows, decided, labelled, last_label, challenged, scope.prefix)


def _described(connection: Connection, scope: Scope) -> str:
    kept = contracts_of(connection, scope.bundles)
    mine = {digest: kept[digest] for digest in scope.bundles}
    return json.dumps(
        {
            "contracts": {contract.digest: json.loads(contract.content) for contract in mine.values()},
            "bundles": {digest: contract.digest for digest, contract in mine.items()},
        }
    )


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
            yield lambda connection, names=names: _delete(connection, names, exported)  # type: ignore[misc]


def _delete(connection: Connection, names: dict[str, list[str | None]], exported: Exported) -> None:
    prediction_ids, transaction_ids, segment_ids = (
        sorted({name for name in names[column] if name is not None})
        for column in ("prediction_id", "transaction_id", "segment_id")
    )
    mine = one_of(connection, transactions.c.prediction_id, prediction_ids)
    keys = [transaction_key(exported.scope, transaction_id) for transaction_id in transaction_ids]
    connection.execute(delete(transactions).where(one_of(connection, transactions.c.transaction_id, keys), mine))
    connection.execute(delete(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids)))
    connection.execute(delete(segments).where(one_of(connection, segments.c.segment_id, segment_ids)))
    said = one_of(connection, labels.c.prediction_id, prediction_ids)
    connection.execute(delete(labels).where(said, labels.c.label_id <= exported.last_label))


def _shadow(connection: Connection, contract: Contract, older_than: datetime, path: Path) -> Path | None:
    found = shadow_tables(connection, None, older_than, contract.contract)
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
