"""Adding decisions: what a transaction_id seen before means, live and when a spool is replayed."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Column, Connection, Dialect, Select, Table, func, insert, select

from stores.decisions.event_plan import EventPlan, event_id, microseconds
from stores.decisions.events import add_events
from stores.decisions.reads import find_records
from stores.decisions.records import KEYLESS, TRIAL, Conflict, DecisionRecord, KeptContract, Stored, Value, to_row
from stores.decisions.schema import UtcDateTime, bundles, contracts, predictions, segments, transactions
from stores.decisions.segments import Chunk, checksum, locate
from stores.sql import LISTED, among, driver_errors, listed, one_of

_Row = Mapping[str, Any]


class QuickInsert:
    """Inserts rows that give every column of a table.

    Parameters
    ----------
    table : Table
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._prepared = cache(self._prepare)

    def __call__(self, connection: Connection, rows: Sequence[_Row]) -> None:
        """Insert rows, column names to values; nothing happens without any."""
        if not rows:
            return
        statement, parameters = self._prepared(connection.dialect)
        given = [parameters(row) for row in rows]
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql(statement, given)
            return
        # Between two rows of an executemany the interpreter may go to another thread, and stay there for milliseconds.
        cursor: Any = connection.connection.cursor()
        with driver_errors(connection.dialect):
            while given:
                size = min(_AT_ONCE, 1 << (len(given).bit_length() - 1))
                cursor.execute(_of_rows(statement, size), list(chain.from_iterable(given[:size])))
                given = given[size:]
        cursor.close()

    def _prepare(self, dialect: Dialect) -> tuple[str, Callable[[_Row], Any]]:
        compiled = insert(self._table).compile(dialect=dialect)
        bound = [(column.name, _processor(column, dialect)) for column in self._table.columns]
        if compiled.positional:

            def parameters(row: _Row) -> Any:
                return tuple(row[name] if process is None else process(row[name]) for name, process in bound)
        else:

            def parameters(row: _Row) -> Any:
                return {name: row[name] if process is None else process(row[name]) for name, process in bound}

        return str(compiled), parameters


def _processor(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What a value of a column becomes before it goes to the driver."""
    if dialect.name == "sqlite" and isinstance(column.type, UtcDateTime):
        return _as_text  # for a fifth of the time
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def _as_text(moment: datetime | None) -> str | None:
    """A moment as SQLAlchemy keeps it in SQLite: in UTC, which the text does not say."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("times must have a time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


_AT_ONCE: Final = 32
"""Most rows in one statement; by powers of two, so that SQLite has few statements to prepare."""


@cache
def _of_rows(statement: str, rows: int) -> str:
    """An insertion of one row, made for several."""
    one = statement[statement.rindex("VALUES") + len("VALUES") :]
    return ",".join([statement, *[one] * (rows - 1)])


_add_predictions = QuickInsert(predictions)
_add_transactions = QuickInsert(transactions)


_SCOPES: Final = "scopes"
"""Where a connection remembers the scopes of bundles that are kept for certain: found there, not just added."""

_CONTRACTS_LOCK: Final = 0x636F6E74  # "cont"
_SEPARATOR: Final = "\x1f"


def transaction_key(scope: str, transaction_id: str) -> str:
    """The key of a transaction_id in the table transactions: itself for the database's first contract."""
    return f"{scope}{_SEPARATOR}{transaction_id}" if scope or _SEPARATOR in transaction_id else transaction_id


def keep_contracts(connection: Connection, decided: Mapping[str, KeptContract]) -> Mapping[str, str]:
    """Keep the contracts of bundles that are not kept yet; the scope of each bundle's contract.

    It asks the database once per bundle and connection.
    """
    known: dict[str, str] = connection.info.setdefault(_SCOPES, {})
    missing = sorted(decided.keys() - known.keys())
    if not missing:
        return known
    joined = select(bundles.c.bundle_digest, contracts.c.scope).join(
        contracts, contracts.c.digest == bundles.c.contract_digest
    )
    asked = connection.execute(joined.where(one_of(connection, bundles.c.bundle_digest, missing)))
    known |= {row.bundle_digest: row.scope for row in asked}
    new = [digest for digest in missing if digest not in known]
    if not new:
        return known
    if connection.dialect.name == "postgresql":  # two gateways' first decisions at once; SQLite has one writer anyway
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CONTRACTS_LOCK})")
    return {**known, **{digest: _keep_contract(connection, digest, decided[digest]) for digest in new}}


def _keep_contract(connection: Connection, bundle_digest: str, contract: KeptContract) -> str:
    rows = connection.execute(select(contracts.c.digest, contracts.c.name, contracts.c.scope)).all()
    scope: str = next((row.scope for row in rows if row.name == contract.name), contract.name if rows else "")
    if contract.digest not in {row.digest for row in rows}:
        said = {"digest": contract.digest, "name": contract.name, "version": contract.version, "scope": scope}
        connection.execute(insert(contracts), {**said, "fields": contract.fields, "content": contract.content})
    if not connection.scalar(select(bundles.c.bundle_digest).where(bundles.c.bundle_digest == bundle_digest)):
        connection.execute(insert(bundles), {"bundle_digest": bundle_digest, "contract_digest": contract.digest})
    return scope


def first_predictions(connection: Connection, keys: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Of each `transaction_key` that is taken, its first prediction's id and payload digest."""
    if not keys:
        return {}
    dialect = connection.dialect.name
    rows = connection.execute(_firsts(dialect), {LISTED: listed(dialect, keys)})
    return {name: (first, digest) for name, first, digest in rows}


@cache
def _firsts(dialect: str) -> Select[Any]:
    """Built once: every single prediction with a transaction_id asks it."""
    return select(transactions).where(among(dialect, transactions.c.transaction_id))


def existing(connection: Connection, prediction_ids: Sequence[str]) -> set[str]:
    """Those ids that the table predictions or a segment holds; segments are not opened."""
    chosen = select(predictions.c.prediction_id).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    known = set(connection.scalars(chosen))
    places = {name: place for name in prediction_ids if name not in known and (place := locate(name)) is not None}
    if places:
        asked = sorted({segment_id for segment_id, _row in places.values()})
        sizes = select(segments.c.segment_id, segments.c.rows)
        rows = connection.execute(sizes.where(one_of(connection, segments.c.segment_id, asked)))
        held = {row.segment_id: row.rows for row in rows}
        known |= {name for name, (segment_id, row) in places.items() if row < held.get(segment_id, 0)}
    return known


def trials(connection: Connection, prediction_ids: Sequence[str]) -> set[str]:
    """Those of some kept predictions that are trials."""
    single = one_of(connection, predictions.c.prediction_id, prediction_ids), predictions.c.source == TRIAL
    found = set(connection.scalars(select(predictions.c.prediction_id).where(*single)))
    places = {name: place[0] for name in prediction_ids if (place := locate(name)) is not None}
    if places:
        bulk = one_of(connection, segments.c.segment_id, sorted({*places.values()})), segments.c.source == TRIAL
        held = set(connection.scalars(select(segments.c.segment_id).where(*bulk)))
        found |= {name for name, segment_id in places.items() if segment_id in held}
    return found


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
    firsts, conflicts, taken = _compare_records(connection, records)
    new = [record for row, record in enumerate(records) if row not in firsts and row not in conflicts]
    _add_predictions(connection, [to_row(record) for record in new])
    _take(connection, taken)
    _add_events(connection, new)
    answers = find_records(connection, sorted({*firsts.values()})) if firsts else {}
    return [
        conflict(record, conflicts[row])
        if row in conflicts
        else Stored(answers[firsts[row]], repeated=True)
        if row in firsts
        else Stored(record)
        for row, record in enumerate(records)
    ]


def replay(connection: Connection, records: Sequence[DecisionRecord]) -> Replayed:
    """Insert records that were acknowledged already: every one is kept, whatever its transaction_id."""
    known = existing(connection, [record.prediction_id for record in records])
    new = [*{record.prediction_id: record for record in records if record.prediction_id not in known}.values()]
    firsts, conflicts, taken = _compare_records(connection, new)
    rows = [
        to_row(record, spooled=True, duplicate_of=firsts.get(row), conflicts_with=conflicts.get(row))
        for row, record in enumerate(new)
    ]
    _add_predictions(connection, sorted(rows, key=itemgetter("prediction_id")))
    _take(connection, taken)
    _add_events(connection, (each for row, each in enumerate(new) if row not in firsts and row not in conflicts))
    return Replayed(len(rows), len(records) - len(rows), len(firsts), len(conflicts))


_Compared = tuple[dict[int, str], dict[int, str], list[dict[str, Any]]]
"""By row, the first predictions that it repeats, and those that it contradicts; and the new rows of transactions."""


def _compare_records(connection: Connection, records: Sequence[DecisionRecord]) -> _Compared:
    scopes = keep_contracts(connection, {record.bundle_digest: record.contract for record in records})
    keys = [
        transaction_key(scopes[record.bundle_digest], record.transaction_id)
        if record.transaction_id is not None and record.source != TRIAL
        else None
        for record in records
    ]
    ids = [record.prediction_id for record in records]
    return _compare(connection, keys, ids, lambda row: records[row].payload_digest, lambda row: records[row])


def _compare(
    connection: Connection,
    keys: Sequence[str | None],
    prediction_ids: Sequence[str],
    digest: Callable[[int], bytes],
    record: Callable[[int], DecisionRecord],
) -> _Compared:
    """Hold rows against the first predictions of their transactions, by digests of what was sent."""
    known = first_predictions(connection, [key for key in keys if key is not None])
    firsts: dict[int, str] = {}
    conflicts: dict[int, str] = {}
    keyless: set[int] = set()
    taken: list[dict[str, Any]] = []
    for row, key in enumerate(keys):
        if key is None:
            continue
        mine, first = digest(row), known.get(key)
        if first is None:
            known[key] = prediction_ids[row], mine
            taken.append({"transaction_id": key, "prediction_id": prediction_ids[row], "payload_digest": mine})
        elif first[0] != prediction_ids[row]:
            if first[1].startswith(KEYLESS):  # a key of the first was erased
                keyless.add(row)
                mine = record(row).keyless_digest
            (firsts if first[1] == mine else conflicts)[row] = first[0]
    if conflicts:
        for row in _repeated_since(connection, {row: record(row) for row in conflicts}, conflicts, keyless):
            firsts[row] = conflicts.pop(row)
    return firsts, conflicts, taken


def _repeated_since(
    connection: Connection, records: Mapping[int, DecisionRecord], firsts: Mapping[int, str], keyless: Set[int]
) -> list[int]:
    """Rows that repeat a prediction under another version of the contract: what both versions know is equal."""
    names = {record.contract.name for record in records.values()}
    versions = select(func.count()).select_from(contracts).where(contracts.c.name.in_(names))
    if connection.scalar(versions) == len(names):
        return []
    together = {record.prediction_id: record for record in records.values()}
    before = find_records(connection, sorted({*firsts.values()} - together.keys())) | together
    return [
        row
        for row, first in firsts.items()
        if first in before and _says_the_same(records[row], before[first], row in keyless)
    ]


def _says_the_same(record: DecisionRecord, first: DecisionRecord, keyless: bool) -> bool:
    if record.contract.digest == first.contract.digest or record.event_time != first.event_time:
        return False
    mine, theirs = record.sent, first.sent
    keys = {name for name, type_ in first.contract.fields if type_ == "string"} if keyless else set()
    return all(mine[name] == theirs[name] for name in (mine.keys() & theirs.keys()) - keys)


def _add_events(connection: Connection, records: Iterable[DecisionRecord]) -> None:
    """Let the histories of their keys know of decided transactions."""
    by_contract: dict[KeptContract, list[_Decided]] = {}
    for record in records:
        if record.contract.computed and record.source != TRIAL:
            decided = record.transaction_id, record.prediction_id, record.event_time, record.inputs
            by_contract.setdefault(record.contract, []).append(decided)
    for contract, rows in by_contract.items():
        _add_decided(connection, contract, rows)


_Decided = tuple[str | None, str, datetime | None, tuple[Value, ...]]


def _add_decided(connection: Connection, contract: KeptContract, decided: Iterable[_Decided]) -> None:
    ids, moments, rows = [], [], []
    for transaction_id, prediction_id, moment, inputs in decided:
        if moment is not None:
            ids.append(event_id(contract.name, transaction_id, prediction_id))
            moments.append(microseconds(moment))
            rows.append(inputs)
    if rows:
        plan = EventPlan.of(contract.contract)
        columns = dict(zip(contract.names, zip(*rows, strict=True), strict=True))
        add_events(connection, plan, list(plan.events(ids, moments, columns)))


def _take(connection: Connection, taken: list[dict[str, Any]]) -> None:
    """Insert rows of transactions in one order, whoever sends them: two writers wait for one another, never both."""
    _add_transactions(connection, sorted(taken, key=itemgetter("transaction_id")))


def conflict(record: DecisionRecord, first: str) -> Conflict:
    """The error of a transaction_id that was used with another payload."""
    return Conflict(
        f"The transaction_id {record.transaction_id!r} was already used with other values, for prediction {first}.",
        "Send the same values for the same transaction, or another transaction_id.",
    )


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
    firsts, conflicts, taken = _compare_chunk(connection, chunk)
    if len(firsts) + len(conflicts) < len(chunk.raw):
        _insert(connection, chunk, firsts, conflicts, taken, spooled=False)
    return SegmentStored(chunk.prediction_ids, firsts, conflicts)


def replay_segment(connection: Connection, chunk: Chunk) -> Replayed:
    """Insert a chunk that was acknowledged already, unless it is there."""
    if connection.scalar(select(segments.c.segment_id).where(segments.c.segment_id == chunk.segment_id)):
        return Replayed(skipped=len(chunk.raw))
    firsts, conflicts, taken = _compare_chunk(connection, chunk)
    _insert(connection, chunk, firsts, conflicts, taken, spooled=True)
    return Replayed(len(chunk.raw), 0, len(firsts), len(conflicts))


def _compare_chunk(connection: Connection, chunk: Chunk) -> _Compared:
    scope = keep_contracts(connection, {chunk.bundle_digest: chunk.contract})[chunk.bundle_digest]
    names = () if chunk.source == TRIAL else chunk.transaction_ids or ()
    keys = [None if name is None else transaction_key(scope, name) for name in names]
    return _compare(connection, keys, chunk.prediction_ids, chunk.digests.__getitem__, chunk.record)


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
    _take(connection, taken)
    if chunk.contract.computed and chunk.source != TRIAL:
        new = (row for row in range(len(chunk.raw)) if row not in firsts and row not in conflicts)
        times = chunk.event_times or [None] * len(chunk.raw)
        ids = chunk.transaction_ids or [None] * len(chunk.raw)
        decided = ((ids[row], chunk.prediction_ids[row], times[row], chunk.inputs(row)) for row in new)
        _add_decided(connection, chunk.contract, decided)
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
