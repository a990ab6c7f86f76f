"""The decision store: what was decided, on which inputs, by which version, and what it turned out to be.

It also holds leases: who may do a piece of work that only one process may do at a time, until when. A lock would stay
forever once its holder is killed; a lease runs out unless its holder renews it. The time is the database's where it has
a clock (PostgreSQL), so that machines need not agree on theirs; a SQLite file is used from one machine.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from stores.decisions import archive, dashboard, reads, writes
from stores.decisions.archive import ShadowDecision
from stores.decisions.dashboard import Outcome, Shadowed, Slice
from stores.decisions.reads import Page, PageFilter
from stores.decisions.records import Conflict, DecisionRecord, Found, Label, Stored
from stores.decisions.schema import leases
from stores.decisions.segments import Chunk
from stores.decisions.writes import LabelItem, Labelled, Replayed, SegmentStored
from stores.sql import translated

_RACES: Final = 3
"""How often a write is tried again that lost a race for a transaction_id to another process."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds what, since when and for how many more seconds."""

    name: str
    holder: str
    since: datetime
    seconds: float


class DecisionStore:
    """Decisions in the migrated database behind an engine; safe to share between threads.

    Every method raises `Unavailable` when the database cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._immediate = engine.execution_options(immediate=True)
        # SQLite has one writer; waiting for it here is fair and quick, in the database it is a sleep and a retry.
        single = engine.dialect.name == "sqlite"
        self._writer: AbstractContextManager[Any] = threading.Lock() if single else nullcontext()

    def add(self, records: Sequence[DecisionRecord]) -> list[Stored | Conflict]:
        """Keep a group in one transaction; when this returns, it is on disk.

        A transaction_id seen before with the same payload gives the first record and keeps nothing new; with another
        payload, that record alone gets a `Conflict` (returned, not raised).
        """
        return self._write(lambda connection: writes.add(connection, records))

    def add_segment(self, chunk: Chunk) -> SegmentStored:
        """Keep a bulk chunk in one transaction."""
        _ = chunk.content, chunk.digests  # made before the lock is taken
        return self._write(lambda connection: writes.add_segment(connection, chunk))

    def replay(self, records: Sequence[DecisionRecord]) -> Replayed:
        """Keep records that a spool held; see `writes.replay`."""
        return self._write(lambda connection: writes.replay(connection, records))

    def replay_segment(self, chunk: Chunk) -> Replayed:
        """Keep a chunk that a spool held."""
        return self._write(lambda connection: writes.replay_segment(connection, chunk))

    def add_shadow(self, decisions: Sequence[ShadowDecision]) -> None:
        """Keep what a challenger would have decided, in one transaction."""
        self._write(lambda connection: archive.add_shadow(connection, decisions))

    def find(self, prediction_id: str) -> Found | None:
        """A prediction, single or bulk."""
        with self._reading() as connection:
            return reads.find_all(connection, [prediction_id]).get(prediction_id)

    def find_transaction(self, transaction_id: str) -> Found | None:
        """The first prediction of a transaction."""
        with self._reading() as connection:
            first = writes.first_predictions(connection, [transaction_id]).get(transaction_id)
            return None if first is None else reads.find_all(connection, [first[0]]).get(first[0])

    def find_all(self, prediction_ids: Sequence[str]) -> dict[str, Found]:
        """Those of some predictions that are known, by id."""
        with self._reading() as connection:
            return reads.find_all(connection, prediction_ids)

    def page(self, wanted: PageFilter, after: str | None = None, limit: int = 100) -> Page:
        """A page; see `reads.page`."""
        with self._reading() as connection:
            return reads.page(connection, wanted, after, limit)

    def label(
        self, items: Sequence[LabelItem], reviewer: str, source: str = "feedback", labelled_at: datetime | None = None
    ) -> list[Labelled]:
        """Add labels in one transaction, idempotently; one outcome per item."""
        when = labelled_at or datetime.now(UTC)
        return self._write(lambda connection: writes.add_labels(connection, items, reviewer, source, when))

    def labels(self, prediction_id: str) -> list[Label]:
        """A prediction's labels, the oldest first; the last one counts."""
        with self._reading() as connection:
            return reads.labels_of(connection, prediction_id)

    def tables(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Any]:
        """Decisions received in [since, until) as ``pyarrow.Table`` objects of bounded size; see `archive.SCHEMA`."""
        with self._reading() as connection:
            yield from archive.tables(connection, since, until)

    def tables_by_event_time(self, since: datetime, until: datetime) -> Iterator[Any]:
        """Decisions on transactions of [since, until), by receipt where they have no event time."""
        with self._reading() as connection:
            yield from archive.tables_by_event_time(connection, since, until)

    def shadow_tables(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Any]:
        """What challengers would have decided on predictions received in [since, until); see `archive.SHADOW_SCHEMA`.

        Join it with `tables` of the same window by ``prediction_id``: both bear the champion's ``received_at``.
        """
        with self._reading() as connection:
            yield from archive.shadow_tables(connection, since, until)

    def slices(self, edges: Sequence[datetime], rows: int) -> list[Slice]:
        """Decisions received between neighbouring edges, counted and sampled; see `dashboard.slices`."""
        with self._reading() as connection:
            return list(dashboard.slices(connection, edges, rows))

    def outcomes(self, since: datetime, until: datetime) -> list[Outcome]:
        """What predictions received in [since, until) turned out to be; see `dashboard.outcomes`."""
        with self._reading() as connection:
            return dashboard.outcomes(connection, since, until)

    def shadowed(self, since: datetime, until: datetime) -> list[Shadowed]:
        """Challengers beside the champion, on what was received in [since, until)."""
        with self._reading() as connection:
            return dashboard.shadowed(connection, since, until)

    def shadow_of(self, prediction_ids: Sequence[str]) -> Any:
        """What challengers would have decided on these predictions, as one table; see `archive.SHADOW_SCHEMA`."""
        with self._reading() as connection:
            return archive.shadow_of(connection, prediction_ids)

    def take_lease(self, name: str, holder: str, seconds: float) -> Lease:
        """Take a lease that is free, run out or already this holder's; the lease that stands then, maybe another's."""
        return self._write(lambda connection: _take_lease(connection, name, holder, seconds))

    def keep_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease for so long from now; False when it is another's by now."""
        return self._write(lambda connection: _keep_lease(connection, name, holder, seconds))

    def give_lease_back(self, name: str, holder: str) -> None:
        """Free a lease at once; another's stays."""
        self._write(lambda connection: _give_lease_back(connection, name, holder))

    def export(self, older_than: datetime, folder: Path) -> archive.Exported:
        """Write older decisions and their labels as Parquet; nothing is deleted."""
        with self._reading() as connection:
            return archive.export(connection, older_than, folder)

    def purge(
        self, older_than: datetime, folder: Path, keep: Callable[[Path], object] | None = None
    ) -> archive.Exported:
        """Export older decisions, then delete exactly what the files hold.

        Parameters
        ----------
        older_than : datetime
        folder : Path
            Where the files are written.
        keep : callable, optional
            Brings each file to where it shall stay; nothing is deleted unless it returns.
        """
        exported = self.export(older_than, folder)
        for path in (exported.decisions, exported.labels, exported.shadow):
            if keep is not None and path is not None:
                keep(path)
        for step in archive.deletions(exported):
            self._write(step)
        return exported

    def close(self) -> None:
        """Give the connections back; also what the end of a ``with`` block does."""
        self.engine.dispose()

    def __enter__(self) -> "DecisionStore":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ping(self) -> None:
        """Return if the database takes writes."""
        self._write(lambda connection: connection.execute(text("SELECT 1 FROM predictions LIMIT 1")))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self.engine.url), self.engine.connect() as connection:
            yield connection

    def _write(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(_RACES):
            try:
                with self._writer, translated(self.engine.url), self._immediate.begin() as connection:
                    return work(connection)
            except IntegrityError:
                if attempt == _RACES - 1:
                    raise
        raise AssertionError("unreachable")


def _take_lease(connection: Connection, name: str, holder: str, seconds: float) -> Lease:
    """Take a lease that is free, run out or already this holder's; the lease as it stands then.

    Of two who find none, the database lets one insert it; the other gets an IntegrityError and looks again.
    """
    ours = leases.c.name == name
    standing = connection.execute(select(leases).where(ours).with_for_update()).one_or_none()
    now = _now(connection)
    if standing is not None and standing.holder != holder and standing.expires_at > now:
        return Lease(name, standing.holder, standing.since, (standing.expires_at - now).total_seconds())
    held = {"holder": holder, "since": now, "expires_at": now + timedelta(seconds=seconds)}
    statement = insert(leases).values(name=name) if standing is None else update(leases).where(ours)
    connection.execute(statement.values(**held))
    return Lease(name, holder, now, seconds)


def _keep_lease(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Hold it for so long from now; False when it is another's by now, or gone."""
    ours = leases.c.name == name, leases.c.holder == holder
    until = _now(connection) + timedelta(seconds=seconds)
    return connection.execute(update(leases).where(*ours).values(expires_at=until)).rowcount == 1


def _give_lease_back(connection: Connection, name: str, holder: str) -> None:
    """Free it at once."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def _now(connection: Connection) -> datetime:
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    # the statement's time, not the transaction's: that one may have waited for the row
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)
