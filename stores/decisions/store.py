"""The decision store: what was decided, on which inputs, by which version, and what it turned out to be.

Who writes waits for a turn, and predictions go before all else: see `Turns`.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from ml_project.contract import Contract
from ml_project.errors import Unavailable
from stores.decisions import archive, dashboard, events, labels, leases, reads, writes
from stores.decisions.archive import ShadowDecision
from stores.decisions.dashboard import Outcome, Shadowed, Slice
from stores.decisions.event_cache import EventCache, NotInMemory
from stores.decisions.event_plan import EventPlan, HistoryEvent
from stores.decisions.forgetting import Forgetting, purge_past
from stores.decisions.keyless import PersonalKey
from stores.decisions.labels import Claimed, LabelItem, Labelled
from stores.decisions.leases import Lease
from stores.decisions.reads import Page, PageFilter, QueueTotals
from stores.decisions.records import Conflict, DecisionRecord, Found, Label, Stored
from stores.decisions.segments import Chunk
from stores.decisions.writes import Replayed, SegmentStored
from stores.sql import Busy, Contended, Locked, driver_connection, lost_race, translated

_RACES: Final = 8
"""How often a write is tried that loses races for a transaction_id to other processes, or is undone by the database."""

_PAUSE_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 4.0
"""How long what is no prediction waits for another process's write to SQLite."""

_BEHIND_SECONDS: Final = 2.0
_TURN_SECONDS: Final = 30.0
"""How long to wait for a turn; whoever has one is done within the limits of `open_engine`."""

_LABELS: Final = 500
"""Most labels in one transaction."""

_PLACES: Final = {"sqlite": (1, 1), "postgresql": (6, 2)}
"""How many may write at once, and how many of them what is no prediction; within the engine's connections."""

T = TypeVar("T")


class Turns:
    """Who may write now: predictions first, then labels and the rest, each in the order in which they came.

    SQLite has one writer at a time; waiting for it here is fair and quick, in the database it is a sleep and a retry.
    On PostgreSQL it keeps what is no prediction from taking every connection.

    Parameters
    ----------
    places : int
        How many may write at once.
    others : int
        How many of them what is no prediction.
    """

    def __init__(self, places: int, others: int) -> None:
        self._free, self._free_for_others = places, others
        self._condition = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, bool]] = []

    @contextmanager
    def take(self, *, prediction: bool) -> Iterator[None]:
        """Wait for a turn and have it for the block.

        Raises
        ------
        Busy
            When none came in half a minute.
        """
        # What is no prediction counts as having come later than it did: it goes behind, and is never kept out for good.
        came = time.monotonic() + (0.0 if prediction else _BEHIND_SECONDS)
        ticket = came, next(self._numbers), prediction
        with self._condition:
            self._waiting.append(ticket)
            try:
                if not self._condition.wait_for(lambda: self._next() == ticket, _TURN_SECONDS):
                    raise Busy("Too many writes to the decision database at once.", "Try again later.")
            finally:
                self._waiting.remove(ticket)
                self._condition.notify_all()
            self._free -= 1
            self._free_for_others -= not prediction
        try:
            yield
        finally:
            with self._condition:
                self._free += 1
                self._free_for_others += not prediction
                self._condition.notify_all()

    def _next(self) -> tuple[float, int, bool] | None:
        if not self._free:
            return None
        return min((ticket for ticket in self._waiting if ticket[2] or self._free_for_others), default=None)


class DecisionStore:
    """Decisions in the migrated database behind an engine; safe to share between threads.

    Every method raises `Unavailable` when the database cannot be reached, and `Busy`, a kind of it, when too many
    others are in the way.

    Parameters
    ----------
    engine : Engine
        For writing.
    readers : Engine, optional
        For reading, so that readers take no connection from writers.

    Attributes
    ----------
    outage : threading.Event
        Set by whoever keeps decisions in a spool meanwhile: all writes but `ping` and replays are refused at once.
    """

    def __init__(self, engine: Engine, readers: Engine | None = None) -> None:
        self.engine = engine
        self.outage = threading.Event()
        self._readers = readers or engine
        self._unhurried = self._readers.execution_options(unhurried=True)
        self._patient = engine.execution_options(immediate=True)
        self._impatient = engine.execution_options(immediate=True, patience=0.0)
        isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = engine.execution_options(**isolation)
        self._turns = Turns(*_PLACES[engine.dialect.name])
        self._pasts = EventCache(self._glance, self._looking_back, engine.dialect.name)

    def add(self, records: Sequence[DecisionRecord]) -> list[Stored | Conflict]:
        """Keep a group in one transaction; when this returns, it is on disk.

        A transaction_id seen before with the same payload gives the first record and keeps nothing new; with another
        payload, that record alone gets a `Conflict` (returned, not raised).
        """
        return self._write(lambda connection: writes.add(connection, records), prediction=True)

    def add_segment(self, chunk: Chunk) -> SegmentStored:
        """Keep a bulk chunk in one transaction."""
        _ = chunk.content, chunk.digests  # made before the lock is taken
        return self._write(lambda connection: writes.add_segment(connection, chunk), prediction=True)

    def replay(self, records: Sequence[DecisionRecord]) -> Replayed:
        """Keep records that a spool held; see `writes.replay`."""
        return self._write(lambda connection: writes.replay(connection, records), always=True)

    def replay_segment(self, chunk: Chunk) -> Replayed:
        """Keep a chunk that a spool held."""
        return self._write(lambda connection: writes.replay_segment(connection, chunk), always=True)

    def add_shadow(self, decisions: Sequence[ShadowDecision]) -> None:
        """Keep what a challenger would have decided, in one transaction."""
        self._write(lambda connection: archive.add_shadow(connection, decisions))

    def histories_of(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """Features from history of single transactions, each with those that wait to be kept.

        See `EventCache.look_up`.
        """
        return self._pasts.look_up(plan, asked)

    def histories_at_once(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """The same if that takes no time to speak of; see `EventCache.look_up_now`.

        Raises
        ------
        NotInMemory
            When it would, as with every database that is not a file.
        """
        if self.engine.dialect.name != "sqlite":
            raise NotInMemory
        return self._pasts.look_up_now(plan, asked)

    def recalled_histories(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """The same while the database is unreachable, from what is in memory; see `EventCache.recall`."""
        return self._pasts.recall(plan, asked)

    def recalled_of_many(
        self, plan: EventPlan, given: Sequence[HistoryEvent], waiting: Sequence[HistoryEvent]
    ) -> NDArray[np.float64]:
        """The same of many, with those that wait to be kept."""
        return self._pasts.recall_many(plan, given, waiting)

    def history_of_many(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
        """Features from history (n, features) of transactions; see `EventCache.look_up_many`."""
        return self._pasts.look_up_many(plan, given)

    def add_events(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> int:
        """Keep transactions that need no decision; how many were not known."""
        return self._write(lambda connection: events.add_events(connection, plan, given))

    def complete_events(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> int:
        """Let kept transactions count for all that a newer version of their contract asks; how many did not."""
        return self._write(lambda connection: events.complete_events(connection, plan, given))

    def relabel_events(self, labels: Mapping[str, int]) -> int:
        """Say what past transactions turned out to be; see `events.relabel`."""
        return self._write(lambda connection: events.relabel(connection, labels)) if labels else 0

    def _glance(self, statement: str, parameters: tuple[Any, ...]) -> Sequence[Any]:
        """Rows of one statement, straight from the driver: each prediction with a history asks one."""
        with translated(self.engine.url), driver_connection(self.engine) as driver:
            rows: Sequence[Any] = driver.execute(statement, parameters).fetchall()
            return rows

    @contextmanager
    def _looking_back(self) -> Iterator[Connection]:
        """For predictions, which do not wait for readers; all that is read in it is of one moment."""
        with translated(self.engine.url), self._snapshots.connect() as connection, connection.begin():
            yield connection

    def first_records(self, prediction_ids: Sequence[str]) -> dict[str, DecisionRecord]:
        """The records that answer repeated transactions; does not wait for readers."""
        with translated(self.engine.url), self.engine.connect() as connection:
            return reads.find_records(connection, prediction_ids)

    def find(self, prediction_id: str) -> Found | None:
        """A prediction, single or bulk."""
        with self._reading() as connection:
            return reads.find_all(connection, [prediction_id]).get(prediction_id)

    def contract_of(self, bundle_digest: str) -> Contract:
        """The contract of a bundle that decided, with the categories that it has learnt."""
        with self._reading() as connection:
            return Contract(**json.loads(reads.contracts_of(connection, [bundle_digest])[bundle_digest].content))

    def find_transaction(self, transaction_id: str, contract: str | None = None) -> Found | None:
        """The first prediction of a transaction of that contract's clients; without its name, of the first one's."""
        with self._reading() as connection:
            key = writes.transaction_key(reads.scope_of(connection, contract).prefix, transaction_id)
            first = writes.first_predictions(connection, [key]).get(key)
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
        self,
        items: Sequence[LabelItem],
        reviewer: str,
        source: str = "feedback",
        labelled_at: datetime | None = None,
        contract: str | None = None,
    ) -> list[Labelled]:
        """Add labels, idempotently: what failed midway can be repeated. One outcome per item.

        In transactions of a few hundred, so that predictions wait for none of them for long. ``contract`` names the one
        whose clients gave the transaction_ids; without it, the database's first.
        """
        when = labelled_at or datetime.now(UTC)
        outcomes: list[Labelled] = []
        for start in range(0, len(items), _LABELS):
            part = items[start : start + _LABELS]
            outcomes += self._write(
                partial(
                    labels.add_labels,
                    items=part,
                    reviewer=reviewer,
                    source=source,
                    labelled_at=when,
                    contract=contract,
                )
            )
        return outcomes

    def claim(self, prediction_ids: Sequence[str], reviewer: str, session: str, seconds: float) -> list[Claimed]:
        """Claim predictions that a reviewer has open, for so long from now; see `labels.claim`."""
        return self._write(lambda connection: labels.claim(connection, prediction_ids, reviewer, session, seconds))

    def queue_totals(
        self, wanted: PageFilter, arrived_after: datetime | None, since: datetime, reviewer: str
    ) -> QueueTotals:
        """What waits for review, and what was labelled since a moment; see `reads.queue_totals`."""
        with self._reading() as connection:
            return reads.queue_totals(connection, wanted, arrived_after, since, reviewer)

    def labels(self, prediction_id: str) -> list[Label]:
        """A prediction's labels, the oldest first; the last one counts."""
        with self._reading() as connection:
            return reads.labels_of(connection, prediction_id)

    def tables(self, contract: Contract, since: datetime | None = None, until: datetime | None = None) -> Iterator[Any]:
        """Decisions received in [since, until) as ``pyarrow.Table`` objects of bounded size.

        Parameters
        ----------
        contract : Contract
            Whose decisions, and what the columns are; see `archive.schema_of`.

        Raises
        ------
        InvalidInput
            When decisions under another version of it are among them whose fields cannot be this one's.
        """
        with self._reading(unhurried=True) as connection:
            yield from archive.tables(connection, contract, since, until)

    def tables_by_event_time(self, contract: Contract, since: datetime, until: datetime) -> Iterator[Any]:
        """The same of transactions of [since, until), by receipt where they have no event time."""
        with self._reading(unhurried=True) as connection:
            yield from archive.tables_by_event_time(connection, contract, since, until)

    def shadow_tables(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Any]:
        """What challengers would have decided on predictions received in [since, until); see `archive.SHADOW_SCHEMA`.

        Join it with `tables` of the same window by ``prediction_id``: both bear the champion's ``received_at``.
        """
        with self._reading(unhurried=True) as connection:
            yield from archive.shadow_tables(connection, since, until)

    def slices(self, edges: Sequence[datetime], rows: int, contract: str | None = None) -> list[Slice]:
        """Decisions received between neighbouring edges, counted and sampled; see `dashboard.slices`."""
        with self._reading() as connection:
            return list(dashboard.slices(connection, edges, rows, contract))

    def outcomes(self, since: datetime, until: datetime, contract: str | None = None) -> list[Outcome]:
        """What predictions received in [since, until) turned out to be; see `dashboard.outcomes`."""
        with self._reading() as connection:
            return dashboard.outcomes(connection, since, until, contract)

    def shadowed(self, since: datetime, until: datetime, contract: str | None = None) -> list[Shadowed]:
        """Challengers beside the champion, on what was received in [since, until)."""
        with self._reading() as connection:
            return dashboard.shadowed(connection, since, until, contract)

    def shadow_of(self, prediction_ids: Sequence[str]) -> Any:
        """What challengers would have decided on these predictions, as one table; see `archive.SHADOW_SCHEMA`."""
        with self._reading() as connection:
            return archive.shadow_of(connection, prediction_ids)

    def take_lease(self, name: str, holder: str, seconds: float) -> Lease:
        """Take a lease that is free, run out or already this holder's; the lease that stands then, maybe another's."""
        return self._write(lambda connection: leases.take(connection, name, holder, seconds))

    def keep_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease for so long from now; False when it is another's by now."""
        return self._write(lambda connection: leases.keep(connection, name, holder, seconds))

    def give_lease_back(self, name: str, holder: str) -> None:
        """Free a lease at once; another's stays."""
        self._write(lambda connection: leases.give_back(connection, name, holder))

    def export(self, contract: Contract, older_than: datetime, folder: Path) -> archive.Exported:
        """Write older decisions under a contract and their labels as Parquet; nothing is deleted. See `tables`."""
        with self._reading(unhurried=True) as connection:
            return archive.export(connection, contract, older_than, folder)

    def purge(
        self, contract: Contract, older_than: datetime, folder: Path, keep: Callable[[Path], object] | None = None
    ) -> archive.Exported:
        """Export older decisions, then delete exactly what the files hold, and past transactions out of reach.

        Parameters
        ----------
        contract : Contract
            See `tables`.
        older_than : datetime
        folder : Path
            Where the files are written.
        keep : callable, optional
            Brings each file to where it shall stay; nothing is deleted unless it returns.
        """
        exported = self.export(contract, older_than, folder)
        for path in (exported.decisions, exported.labels, exported.shadow):
            if keep is not None and path is not None:
                keep(path)
        for step in archive.deletions(exported):
            self._write(step)
        return replace(exported, past=purge_past(self._reading, self._write, contract, older_than))

    def forgetting(self, contract: str, key: PersonalKey) -> Forgetting:
        """What is kept of a key of a contract's entity, to be looked for or erased."""
        return Forgetting(partial(self._reading, unhurried=True), self._write, contract, key)

    def close(self) -> None:
        """Give the connections back; also what the end of a ``with`` block does."""
        self.engine.dispose()
        self._readers.dispose()

    def __enter__(self) -> "DecisionStore":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ping(self) -> None:
        """Return if the database takes writes."""
        self._write(lambda connection: connection.execute(text("SELECT 1 FROM predictions LIMIT 1")), always=True)

    @contextmanager
    def _reading(self, *, unhurried: bool = False) -> Iterator[Connection]:
        readers = self._unhurried if unhurried else self._readers
        with translated(self.engine.url), readers.connect() as connection:
            yield connection

    def _write(self, work: Callable[[Connection], T], *, prediction: bool = False, always: bool = False) -> T:
        """One transaction, tried again when others were in its way; ``always`` does not mind the outage."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        races = 0
        while True:
            try:
                return self._transaction(work, prediction, always)
            except Locked:
                if prediction or time.monotonic() > deadline:
                    raise
            except (IntegrityError, Contended) as error:
                if isinstance(error, IntegrityError) and not lost_race(error):
                    raise
                races += 1
                if races == _RACES:
                    raise Busy("Too many requests write the same transactions at once.", "Try again.") from error
            time.sleep(_PAUSE_SECONDS)

    def _transaction(self, work: Callable[[Connection], T], prediction: bool, always: bool) -> T:
        # A prediction waits for another process's write within its turn; the rest would keep predictions waiting there.
        engine = self._patient if prediction else self._impatient
        with self._turns.take(prediction=prediction):
            if self.outage.is_set() and not always:
                raise Unavailable("The decision database is unreachable.", "Try again when it is back.")
            with translated(self.engine.url), engine.begin() as connection:
                return work(connection)
