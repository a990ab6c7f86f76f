"""Retention: old decisions go into Parquet first, and only what the files hold is deleted."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, func, select

from stores.decisions import shadow
from stores.decisions.rows import one_of
from stores.decisions.schema import labels, predictions, segments, transactions
from stores.decisions.segment_ids import MAX_ROWS
from stores.decisions.tables import SCHEMA, tables
from stores.files import replacing

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


def export(connection: Connection, older_than: datetime, folder: Path) -> Exported:
    """Write decisions received before a moment, the whole history of their labels, and challengers' decisions.

    The files appear whole or not at all. Each row group of ``decisions`` is one group of single predictions or one
    segment.
    """
    last_label = connection.scalar(select(func.max(labels.c.label_id))) or 0
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    challenged = _shadow(connection, older_than, folder / f"shadow-{now}.parquet")
    found = tables(connection, None, older_than)
    first = next(found, None)
    if first is None:
        return Exported(shadow=challenged)
    decided, labelled = folder / f"decisions-{now}.parquet", folder / f"labels-{now}.parquet"
    rows = 0
    with ExitStack() as stack:
        history = stack.enter_context(_whole(labelled, _LABELS))
        decisions = stack.enter_context(_whole(decided, SCHEMA))
        table: Any = first
        while table is not None:
            decisions.write_table(table, row_group_size=MAX_ROWS)
            history.write_table(_history(connection, table.column("prediction_id").to_pylist(), last_label))
            rows += table.num_rows
            table = next(found, None)
    return Exported(rows, decided, labelled, last_label, challenged)


def deletions(exported: Exported) -> Iterator[Callable[[Connection], None]]:
    """One step per row group, each for a transaction of its own, so that a purge never blocks the gateway for long."""
    if exported.shadow is not None:
        with pq.ParquetFile(exported.shadow) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, ["prediction_id"]).column(0).to_pylist()
                yield lambda connection, ids=ids: shadow.remove(connection, ids)  # type: ignore[misc]
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
    found = shadow.tables(connection, None, older_than)
    table: Any = next(found, None)
    if table is None:
        return None
    with _whole(path, shadow.SCHEMA) as file:
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
