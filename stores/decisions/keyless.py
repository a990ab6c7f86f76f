"""Decisions without the key of an entity: singly kept ones, segments, and tables of exports.

All else stays as it was decided. Of a repeated transaction its digest is compared, and a digest would tell the key to
anyone who tries keys: from then on it is one without any.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import compute
from sqlalchemy import Connection, select, update

from stores.decisions.reads import contracts_of, scope_of
from stores.decisions.records import DecisionRecord, KeptContract, pack_inputs, to_record, unpack_inputs
from stores.decisions.schema import predictions, segments, transactions
from stores.decisions.segments import SHARED, Chunk, checksum, read_content, record_at, write_stream
from stores.decisions.writes import transaction_key
from stores.sql import one_of


@dataclass(frozen=True)
class PersonalKey:
    """Whom to forget: a value of an entity, in every form in which it may be kept, such as plain and hashed."""

    entity: str
    forms: tuple[str, ...]


def singles_with(
    connection: Connection, contract: str, key: PersonalKey, after: str, most: int
) -> tuple[list[Any], str | None]:
    """Rows of the table predictions with a key, of a page of them; where the next page begins.

    Those are among them that pages list of a segment.
    """
    columns = predictions.c
    wanted = columns.prediction_id, columns.segment_id, columns.bundle_digest, columns.inputs
    mine = scope_of(connection, contract).within(connection, columns.bundle_digest)
    query = select(*wanted).where(columns.prediction_id > after, *mine)
    rows = connection.execute(query.order_by(columns.prediction_id).limit(most)).all()
    texts = [json.dumps(form, ensure_ascii=False).encode() for form in key.forms]
    likely = [row for row in rows if any(text in row.inputs for text in texts)]
    kept = contracts_of(connection, [row.bundle_digest for row in likely])
    contracts = [kept[row.bundle_digest] for row in likely]
    found = [
        row for row, each in zip(likely, contracts, strict=True) if _has(unpack_inputs(row.inputs, each), each, key)
    ]
    return found, rows[-1].prediction_id if len(rows) == most else None


def _has(inputs: Sequence[Any], contract: KeptContract, key: PersonalKey) -> bool:
    return key.entity in contract.names and inputs[contract.names.index(key.entity)] in key.forms


def erase_singles(connection: Connection, contract: str, key: PersonalKey, ids: Sequence[str]) -> int:
    """Take a key out of rows of the table predictions that have it; how many of them are of no segment."""
    chosen = select(predictions).where(one_of(connection, predictions.c.prediction_id, ids))
    rows = connection.execute(chosen.order_by(predictions.c.prediction_id)).all()
    kept = contracts_of(connection, [row.bundle_digest for row in rows])
    records = [to_record(row._mapping, kept[row.bundle_digest]) for row in rows]
    for record in records:
        place = record.contract.names.index(key.entity)
        packed = pack_inputs((*record.inputs[:place], None, *record.inputs[place + 1 :]), record.contract)
        mine = predictions.c.prediction_id == record.prediction_id
        nameless = {"entity": None} if place == record.contract.entity_place else {}
        connection.execute(update(predictions).where(mine).values(inputs=packed, **nameless))
    _mark(connection, contract, list(_digests(records)))
    return sum(not row.segment_id for row in rows)


_Digest = tuple[str, str, bytes]
"""Of a decision: the transaction's name, its own, and the digest without keys."""


def _digests(records: Sequence[DecisionRecord]) -> Iterator[_Digest]:
    for record in records:
        if record.transaction_id is not None:
            yield record.transaction_id, record.prediction_id, record.keyless_digest


def _mark(connection: Connection, contract: str, digests: Sequence[_Digest]) -> None:
    """Keep digests without keys of the transactions that decisions were the first of."""
    scope = scope_of(connection, contract).prefix
    for name, prediction_id, digest in sorted(digests):
        first = (
            transactions.c.transaction_id == transaction_key(scope, name),
            transactions.c.prediction_id == prediction_id,
        )
        connection.execute(update(transactions).where(*first).values(payload_digest=digest))


def segment_ids(connection: Connection, contract: str) -> list[str]:
    """All segments of a contract."""
    columns = segments.c
    mine = scope_of(connection, contract).within(connection, columns.bundle_digest)
    return list(connection.scalars(select(columns.segment_id).where(*mine).order_by(columns.segment_id)))


@dataclass(frozen=True)
class KeyedSegment:
    """A segment with a key, and what takes its place.

    Attributes
    ----------
    rows : int
        How many have the key.
    sha256 : bytes
        Of what it is now.
    content : bytes
    digests : list
        Of the rows with the key.
    """

    segment_id: str
    rows: int
    sha256: bytes
    content: bytes
    digests: list[_Digest]


def segment_with(connection: Connection, key: PersonalKey, segment_id: str) -> KeyedSegment | None:
    """A segment, if it has a key; all that takes time is done here, before it is written.

    Raises
    ------
    DamagedSegment
    """
    segment = connection.execute(select(segments).where(segments.c.segment_id == segment_id)).one_or_none()
    if segment is None or not any(form.encode() in segment.content for form in key.forms):
        return None
    table = read_content(segment_id, segment.content, segment.sha256)
    mask = rows_with(table, key)
    rows = compute.indices_nonzero(mask).to_pylist()
    if not rows:
        return None
    kept = contracts_of(connection, [segment.bundle_digest])[segment.bundle_digest]
    shared = {name: segment._mapping[name] for name in SHARED}
    named = "transaction_id" in table.column_names
    records = [record_at(segment_id, row, kept, shared, table) for row in rows] if named else []
    content = write_stream(without_key(table, key, mask).combine_chunks())
    return KeyedSegment(segment_id, len(rows), segment.sha256, content, list(_digests(records)))


def erase_bulk(connection: Connection, contract: str, segment: KeyedSegment) -> int:
    """Put in place what was made of a segment; how many rows had the key, 0 where it was changed meanwhile."""
    same = segments.c.segment_id == segment.segment_id, segments.c.sha256 == segment.sha256
    changed = {"content": segment.content, "sha256": checksum(segment.content)}
    if not connection.execute(update(segments).where(*same).values(**changed)).rowcount:
        return 0
    _mark(connection, contract, segment.digests)
    return segment.rows


def rows_with(table: Any, key: PersonalKey) -> Any:
    """Which rows of a table have a key, as a mask."""
    if key.entity not in table.column_names:
        return pa.repeat(pa.scalar(False), len(table))
    return compute.is_in(table.column(key.entity), value_set=pa.array(key.forms, pa.string()))


def without_key(table: Any, key: PersonalKey, mask: Any) -> Any:
    """A table with nothing in the place of a key where a mask says so; all else as it was."""
    place = table.schema.get_field_index(key.entity)
    field = table.schema.field(place)
    empty = compute.if_else(mask, pa.scalar("", field.type), table.column(place))  # else Arrow keeps the text unseen
    return table.set_column(place, field, compute.if_else(mask, pa.scalar(None, field.type), empty))


def decisions_with(item: DecisionRecord | Chunk, key: PersonalKey) -> int:
    """How many decisions of what a spool holds have a key."""
    if isinstance(item, DecisionRecord):
        return int(_has(item.inputs, item.contract, key))
    return sum(name in key.forms for name in item.texts.get(key.entity, ()))
