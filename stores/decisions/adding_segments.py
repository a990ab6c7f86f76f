"""Adding bulk segments."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from stores.decisions.adding import Replayed
from stores.decisions.lookup import first_predictions
from stores.decisions.rows import to_row
from stores.decisions.schema import predictions, segments, transactions
from stores.decisions.segments import Chunk, checksum


@dataclass(frozen=True, slots=True)
class SegmentStored:
    """A kept chunk.

    Attributes
    ----------
    prediction_ids : list of str
        In the order of the rows; a row of `firsts` is answered with that prediction instead.
    firsts : dict
        Rows whose transaction_id was known with the same payload: the first prediction's id.
    conflicts : dict
        Rows whose transaction_id was known with another payload: the first prediction's id.
    kept : {'database', 'spool'}
    """

    prediction_ids: list[str]
    firsts: dict[int, str]
    conflicts: dict[int, str]
    kept: str = "database"


def add_segment(connection: Connection, chunk: Chunk) -> SegmentStored:
    """Insert a chunk; one that only repeats known transactions leaves nothing new."""
    firsts, conflicts, taken = _compare(connection, chunk)
    if len(firsts) + len(conflicts) < len(chunk.raw):
        _insert(connection, chunk, firsts, conflicts, taken, spooled=False)
    return SegmentStored(chunk.prediction_ids, firsts, conflicts)


def replay_segment(connection: Connection, chunk: Chunk) -> Replayed:
    """Insert a chunk that was acknowledged already, unless it is there."""
    if connection.scalar(select(segments.c.segment_id).where(segments.c.segment_id == chunk.segment_id)):
        return Replayed(skipped=len(chunk.raw))
    firsts, conflicts, taken = _compare(connection, chunk)
    _insert(connection, chunk, firsts, conflicts, taken, spooled=True)
    return Replayed(len(chunk.raw), 0, len(firsts), len(conflicts))


def _compare(connection: Connection, chunk: Chunk) -> tuple[dict[int, str], dict[int, str], list[dict[str, Any]]]:
    ids, digests = chunk.transaction_ids or (), chunk.digests
    known = first_predictions(connection, [name for name in ids if name is not None])
    firsts: dict[int, str] = {}
    conflicts: dict[int, str] = {}
    taken: list[dict[str, Any]] = []
    for row, name in enumerate(ids):
        if name is None:
            continue
        first = known.get(name)
        if first is None:
            known[name] = chunk.prediction_ids[row], digests[row]
            taken.append(
                {"transaction_id": name, "prediction_id": chunk.prediction_ids[row], "payload_digest": digests[row]}
            )
        elif first[1] == digests[row]:
            firsts[row] = first[0]
        else:
            conflicts[row] = first[0]
    return firsts, conflicts, taken


def _insert(
    connection: Connection,
    chunk: Chunk,
    firsts: dict[int, str],
    conflicts: dict[int, str],
    taken: list[dict[str, Any]],
    *,
    spooled: bool,
) -> None:
    marks = {row: (first, None) for row, first in firsts.items()}
    marks_of_conflicts = {row: (None, first) for row, first in conflicts.items()}
    content, (first, last) = chunk.content, chunk.event_span
    connection.execute(
        insert(segments),
        {
            **chunk.shared,
            "segment_id": chunk.segment_id,
            "rows": len(chunk.raw),
            "content": content,
            "sha256": checksum(content),
            "marks": {**marks, **marks_of_conflicts} or None,
            "first_event_time": first,
            "last_event_time": last,
            "spooled": spooled,
        },
    )
    if taken:
        connection.execute(insert(transactions), taken)
    shown = sorted(chunk.review_rates.keys() - firsts.keys() - (set() if spooled else conflicts.keys()))
    if shown:
        rows = [
            to_row(
                chunk.record(row),
                segment_id=chunk.segment_id,
                spooled=spooled,
                conflicts_with=conflicts.get(row),
            )
            for row in shown
        ]
        connection.execute(insert(predictions), rows)
