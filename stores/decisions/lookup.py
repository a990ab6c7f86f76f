"""Finding decisions again, whether they were kept singly or in a segment."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select

from stores.decisions.records import DecisionRecord, Found, Label
from stores.decisions.rows import LISTED, SHARED, among, listed, one_of, to_found, to_label, to_record
from stores.decisions.schema import labels, predictions, segments, transactions
from stores.decisions.segment_ids import locate
from stores.decisions.segments import read_content, record_at

_SEGMENT: Final = select(segments)


def find_all(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, Found]:
    """What is known about each of some predictions; ids that nobody knows are left out."""
    newest = newest_labels(connection, prediction_ids)
    chosen = select(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    found = {
        row.prediction_id: to_found(row._mapping, newest.get(row.prediction_id)) for row in connection.execute(chosen)
    }
    elsewhere: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for prediction_id in prediction_ids:
        place = None if prediction_id in found else locate(prediction_id)
        if place is not None:
            elsewhere[place[0]].append((prediction_id, place[1]))
    for segment_id, places in elsewhere.items():
        segment = connection.execute(_SEGMENT.where(segments.c.segment_id == segment_id)).one_or_none()
        if segment is not None:
            inside = [(prediction_id, row) for prediction_id, row in places if row < segment.rows]
            found |= _in_segment(segment, inside, newest)
    return found


def find_records(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, DecisionRecord]:
    """Records alone, by one statement where all were kept singly."""
    chosen = select(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    records = {row.prediction_id: to_record(row._mapping) for row in connection.execute(chosen)}
    bulk = [prediction_id for prediction_id in prediction_ids if prediction_id not in records]
    return records | {name: found.record for name, found in find_all(connection, bulk).items()} if bulk else records


def first_predictions(connection: Connection, transaction_ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Of each transaction_id that is taken, its first prediction's id and payload digest."""
    if not transaction_ids:
        return {}
    dialect = connection.dialect.name
    rows = connection.execute(_firsts(dialect), {LISTED: listed(dialect, transaction_ids)})
    return {name: (first, digest) for name, first, digest in rows}


def existing(connection: Connection, prediction_ids: Sequence[str]) -> set[str]:
    """Those ids that the table predictions or a segment holds; segments are not opened."""
    chosen = select(predictions.c.prediction_id).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    known = set(connection.scalars(chosen))
    places = {name: place for name in prediction_ids if name not in known and (place := locate(name)) is not None}
    if places:
        held = dict(_sizes(connection, {segment_id for segment_id, _row in places.values()}))
        known |= {name for name, (segment_id, row) in places.items() if row < held.get(segment_id, 0)}
    return known


def newest_labels(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, Label]:
    """The newest label of each of some predictions, where there is one."""
    chosen = select(labels).where(one_of(connection, labels.c.prediction_id, prediction_ids))
    rows = connection.execute(chosen.order_by(labels.c.label_id))
    return {row.prediction_id: to_label(row._mapping) for row in rows}


def _sizes(connection: Connection, segment_ids: Iterable[str]) -> list[tuple[str, int]]:
    chosen = select(segments.c.segment_id, segments.c.rows)
    rows = connection.execute(chosen.where(one_of(connection, segments.c.segment_id, sorted(segment_ids))))
    return [(segment_id, count) for segment_id, count in rows]


def _in_segment(segment: Row[Any], places: list[tuple[str, int]], newest: dict[str, Label]) -> dict[str, Found]:
    table = read_content(segment.segment_id, segment.content, segment.sha256)
    shared = {name: segment._mapping[name] for name in SHARED}
    found = {}
    for prediction_id, row in places:
        duplicate_of, conflicts_with = (segment.marks or {}).get(str(row), (None, None))
        found[prediction_id] = Found(
            record_at(segment.segment_id, row, shared, table),
            newest.get(prediction_id),
            segment.segment_id,
            segment.spooled,
            duplicate_of,
            conflicts_with,
        )
    return found


@cache
def _firsts(dialect: str) -> Select[Any]:
    """Built once: every single prediction with a transaction_id asks it."""
    return select(transactions).where(among(dialect, transactions.c.transaction_id))
