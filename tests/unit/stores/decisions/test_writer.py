import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from ml_project.errors import Unavailable
from stores.decisions import (
    Busy,
    Chunk,
    Conflict,
    DecisionRecord,
    DecisionStore,
    GroupWriter,
    Outcome,
    Spool,
    SpoolFull,
    Stored,
)

Make = Callable[..., DecisionRecord]


class Gate:
    """A store that commits when it is told to, and can be away."""

    def __init__(self, store: DecisionStore) -> None:
        self._store = store
        self.open, self.entered, self.away = threading.Event(), threading.Event(), False
        self.groups: list[int] = []

    def add(self, records: list[DecisionRecord]) -> list[Stored | Conflict]:
        self.entered.set()
        assert self.open.wait(60)
        if self.away:
            raise Unavailable("away")
        self.groups.append(len(records))
        return self._store.add(records)

    def ping(self) -> None:
        if self.away:
            raise Unavailable("away")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def gate(sqlite_store: DecisionStore) -> Gate:
    return Gate(sqlite_store)


@pytest.fixture
def writer(gate: Gate, tmp_path: Path) -> Iterator[GroupWriter]:
    made = GroupWriter(gate, Spool(tmp_path / "spool"), retry_seconds=0.05, capacity=2_000)  # type: ignore[arg-type]
    made.start()
    yield made
    gate.open.set()
    made.close()


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def submitted(writer: GroupWriter, record: DecisionRecord) -> "Future[Stored]":
    """What becomes of one decision."""
    future: Future[Stored] = Future()

    def done(outcomes: Sequence[Outcome]) -> None:
        [outcome] = outcomes
        if isinstance(outcome, Stored):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    writer.submit([record], done)
    return future


def test_whatever_waits_shares_a_commit(gate: Gate, writer: GroupWriter, make_record: Make) -> None:
    first = submitted(writer, make_record())
    assert gate.entered.wait(60)
    records = [make_record() for _ in range(600)]
    futures = [submitted(writer, record) for record in records]
    assert writer.waiting == 600
    assert not first.done()
    gate.open.set()
    wait(futures, timeout=10)
    assert gate.groups == [1, 512, 88]
    assert [future.result() for future in futures] == [Stored(record) for record in records]


def test_a_conflict_is_one_callers_own(gate: Gate, writer: GroupWriter, make_record: Make) -> None:
    gate.open.set()
    submitted(writer, make_record(1.0, transaction_id="t")).result(60)
    conflict, fine = submitted(writer, make_record(2.0, transaction_id="t")), submitted(writer, make_record())
    with pytest.raises(Conflict):
        conflict.result(60)
    assert fine.result(60).kept == "database"


def test_a_bad_record_takes_no_other_with_it(
    gate: Gate, writer: GroupWriter, make_record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    submitted(writer, make_record())
    assert gate.entered.wait(60)
    good, bad = submitted(writer, make_record()), submitted(writer, make_record(hybrid_score=float("nan")))
    gate.open.set()
    assert good.result(60).kept == "database"
    with pytest.raises(Exception, match="hybrid_score"):
        bad.result(60)
    assert "one by one" in caplog.text


def test_the_database_is_away_and_comes_back(
    gate: Gate, writer: GroupWriter, make_record: Make, make_chunk: Callable[..., Chunk], sqlite_store: DecisionStore
) -> None:
    gate.open.set()
    first = submitted(writer, make_record(1.0, transaction_id="t")).result(60)
    gate.away = True
    again = submitted(writer, make_record(1.0, transaction_id="t")).result(60)
    assert (again.kept, again.repeated) == ("spool", False)
    chunk = make_chunk()
    assert writer.keep_segment(chunk).kept == "spool"
    assert writer.database_away
    assert sqlite_store.find(again.record.prediction_id) is None
    gate.away = False
    eventually(lambda: sqlite_store.find(chunk.prediction_ids[3]) is not None)
    found = sqlite_store.find(again.record.prediction_id)
    assert found is not None
    assert found.duplicate_of == first.record.prediction_id
    assert not writer.database_away
    assert submitted(writer, make_record()).result(60).kept == "database"
    assert writer.keep_segment(make_chunk()).kept == "database"


def test_a_real_database_file_that_vanishes(sqlite_store: DecisionStore, make_record: Make, tmp_path: Path) -> None:
    writer = GroupWriter(sqlite_store, Spool(tmp_path / "spool"), retry_seconds=0.05)
    writer.start()
    database, elsewhere = tmp_path / "decisions.db", tmp_path / "elsewhere.db"
    before = submitted(writer, make_record()).result(60)
    database.rename(elsewhere)
    during = [submitted(writer, make_record()).result(60) for _ in range(3)]
    assert [stored.kept for stored in during] == ["spool"] * 3
    assert not database.exists()
    elsewhere.rename(database)
    eventually(lambda: not writer.database_away)
    after = submitted(writer, make_record()).result(60)
    writer.close()
    assert (before.kept, after.kept) == ("database", "database")
    for stored in (before, *during, after):
        assert sqlite_store.find(stored.record.prediction_id) is not None


def test_a_database_that_somebody_locks(sqlite_store: DecisionStore, make_record: Make, tmp_path: Path) -> None:
    writer = GroupWriter(sqlite_store, Spool(tmp_path / "spool"), retry_seconds=0.05)
    writer.start()
    holder = sqlite3.connect(tmp_path / "decisions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert submitted(writer, make_record()).result(60).kept == "spool"
    noticed = time.monotonic()
    spooled = submitted(writer, make_record()).result(60)  # nobody waits once more for a database known to be away
    assert (time.monotonic() - noticed) / (noticed - started) < 0.5
    holder.execute("ROLLBACK")
    holder.close()
    eventually(lambda: sqlite_store.find(spooled.record.prediction_id) is not None)
    writer.close()


def test_no_room_anywhere_is_no_acknowledgement(
    gate: Gate, make_record: Make, make_chunk: Callable[..., Chunk], tmp_path: Path
) -> None:
    gate.open.set()
    gate.away = True
    writer = GroupWriter(gate, Spool(tmp_path / "small", max_bytes=100), retry_seconds=0.05)  # type: ignore[arg-type]
    writer.start()
    with pytest.raises(SpoolFull) as caught:
        submitted(writer, make_record()).result(60)
    assert caught.value.status == 503
    with pytest.raises(SpoolFull):
        writer.keep_segment(make_chunk())
    writer.close()


def test_a_full_queue_and_a_closed_writer(gate: Gate, make_record: Make, tmp_path: Path) -> None:
    writer = GroupWriter(gate, Spool(tmp_path / "spool"), capacity=2)  # type: ignore[arg-type]
    writer.start()
    waiting = [submitted(writer, make_record())]
    assert gate.entered.wait(60)
    waiting += [submitted(writer, make_record()) for _ in range(2)]
    with pytest.raises(Busy) as caught:
        submitted(writer, make_record()).result(60)
    assert caught.value.status == 503
    closing = threading.Thread(target=writer.close)
    closing.start()
    gate.open.set()
    closing.join(60)
    assert [future.result(0).kept for future in waiting] == ["database"] * 3
    with pytest.raises(Busy, match="shutting down"):
        submitted(writer, make_record()).result(60)
    writer.close()


def test_decisions_of_one_turn_come_to_their_own_outcomes(gate: Gate, writer: GroupWriter, make_record: Make) -> None:
    gate.open.set()
    submitted(writer, make_record(1.0, transaction_id="t")).result(60)
    records = [make_record(), make_record(2.0, transaction_id="t"), make_record(1.0, transaction_id="t")]
    told: SimpleQueue[Sequence[Outcome]] = SimpleQueue()
    writer.submit(records, told.put)
    fine, conflict, repeated = told.get(timeout=60)
    assert fine == Stored(records[0])
    assert isinstance(conflict, Conflict)
    assert isinstance(repeated, Stored)
    assert repeated.repeated
    assert writer.waiting == 0


def test_busy_is_not_away(gate: Gate, writer: GroupWriter, make_record: Make, make_chunk: Callable[..., Chunk]) -> None:
    """In the spool, a repeated transaction_id would get a second prediction."""

    def busy(_items: object) -> list[Stored | Conflict]:
        raise Busy("Too many write.")

    gate.add = gate.add_segment = busy  # type: ignore[method-assign, assignment]
    with pytest.raises(Busy):
        submitted(writer, make_record()).result(60)
    with pytest.raises(Busy):
        writer.keep_segment(make_chunk())
    assert not writer.database_away


def test_what_comes_back_is_brought_to_the_schema(
    sqlite_store: DecisionStore, make_record: Make, tmp_path: Path
) -> None:
    """Such as a backup from before an upgrade."""
    writer = GroupWriter(sqlite_store, Spool(tmp_path / "spool"), retry_seconds=0.05)
    writer.start()
    submitted(writer, make_record()).result(60)
    database, older = tmp_path / "decisions.db", tmp_path / "older.db"
    for path in tmp_path.glob("decisions.db*"):
        path.unlink()
    spooled = submitted(writer, make_record()).result(60)
    assert spooled.kept == "spool"
    older.touch()
    older.rename(database)
    eventually(lambda: not writer.database_away)
    assert sqlite_store.find(spooled.record.prediction_id) is not None
    writer.close()
