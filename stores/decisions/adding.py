"""Adding single decisions: what a transaction_id seen before means, live and when a spool is replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from stores.decisions.errors import Conflict
from stores.decisions.lookup import existing, find_records, first_predictions
from stores.decisions.quick_insert import QuickInsert
from stores.decisions.records import DecisionRecord, Stored
from stores.decisions.rows import to_row
from stores.decisions.schema import predictions, transactions

_add_predictions = QuickInsert(predictions)
_add_transactions = QuickInsert(transactions)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of spooled rows.

    Attributes
    ----------
    added : int
        New in the store, those marked below included.
    skipped : int
        Already there: a commit had succeeded and its acknowledgement was lost.
    duplicates, conflicts : int
        Kept and marked, because the transaction_id was taken by the same or by another payload.
    """

    added: int = 0
    skipped: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            self.added + other.added,
            self.skipped + other.skipped,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
        )


def add(connection: Connection, records: Sequence[DecisionRecord]) -> list[Stored | Conflict]:
    """Insert the new ones; answer repeated transaction_ids with their first record, and refuse other payloads."""
    firsts = first_predictions(connection, [r.transaction_id for r in records if r.transaction_id is not None])
    new = {record.prediction_id: record for record in records}
    taken: list[dict[str, Any]] = []
    outcome: dict[str, str | Conflict] = {}
    for record in records:
        if record.transaction_id is None:
            continue
        first = firsts.get(record.transaction_id)
        if first is None:
            firsts[record.transaction_id] = record.prediction_id, record.payload_digest
            taken.append(_taken(record))
        elif first[0] != record.prediction_id:
            del new[record.prediction_id]
            same = first[1] == record.payload_digest
            outcome[record.prediction_id] = first[0] if same else conflict(record, first[0])
    _add_predictions(connection, [to_row(record) for record in new.values()])
    _add_transactions(connection, taken)
    repeated = sorted({first for first in outcome.values() if isinstance(first, str)})
    answers = find_records(connection, repeated) if repeated else {}
    return [_answer(record, outcome.get(record.prediction_id), answers) for record in records]


def replay(connection: Connection, records: Sequence[DecisionRecord]) -> Replayed:
    """Insert records that were acknowledged already: every one is kept, whatever its transaction_id."""
    known = existing(connection, [record.prediction_id for record in records])
    new = {record.prediction_id: record for record in records if record.prediction_id not in known}
    firsts = first_predictions(connection, [r.transaction_id for r in new.values() if r.transaction_id is not None])
    rows, taken, duplicates, conflicts = [], [], 0, 0
    for record in new.values():
        marks: dict[str, str] = {}
        if record.transaction_id is not None:
            first = firsts.setdefault(record.transaction_id, (record.prediction_id, record.payload_digest))
            if first[0] == record.prediction_id:
                taken.append(_taken(record))
            elif first[1] == record.payload_digest:
                marks, duplicates = {"duplicate_of": first[0]}, duplicates + 1
            else:
                marks, conflicts = {"conflicts_with": first[0]}, conflicts + 1
        rows.append(to_row(record, spooled=True, **marks))
    _add_predictions(connection, rows)
    _add_transactions(connection, taken)
    return Replayed(len(rows), len(records) - len(rows), duplicates, conflicts)


def conflict(record: DecisionRecord, first: str) -> Conflict:
    """The error of a transaction_id that was used with another payload."""
    return Conflict(
        f"The transaction_id {record.transaction_id!r} was already used with other values, for prediction {first}.",
        "Send the same values for the same transaction, or another transaction_id.",
    )


def _taken(record: DecisionRecord) -> dict[str, Any]:
    return {
        "transaction_id": record.transaction_id,
        "prediction_id": record.prediction_id,
        "payload_digest": record.payload_digest,
    }


def _answer(
    record: DecisionRecord, outcome: str | Conflict | None, answers: dict[str, DecisionRecord]
) -> Stored | Conflict:
    if outcome is None:
        return Stored(record)
    return outcome if isinstance(outcome, Conflict) else Stored(answers[outcome], repeated=True)
