import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, update
from sqlalchemy.exc import OperationalError

from ml_project.errors import InvalidInput, Unavailable
from stores.decisions import (
    Busy,
    Chunk,
    Conflict,
    DecisionRecord,
    DecisionStore,
    LabelItem,
    Lease,
    PageFilter,
    QueueTotals,
    Stored,
    database,
    open_store,
)
from stores.decisions import store as store_module
from stores.decisions.database import READERS
from stores.decisions.schema import leases
from stores.decisions.store import Turns
from stores.sql import QueryTimeout
from tests.support.creditcard import CREDITCARD

Make = Callable[..., DecisionRecord]
START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_record_comes_back_bit_for_bit(store: DecisionStore, make_record: Make) -> None:
    record = make_record(
        inputs=tuple(1 / (i + 3) for i in range(30)),
        hybrid_score=0.1 + 0.2,
        transaction_id="Überweisung 1 ✓",
        event_time=datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=2))),
        reasons=[{"feature": "V14", "value": -1.5, "contribution": 0.25}],
        key_name="till",
    )
    assert store.add([record]) == [Stored(record)]
    found = store.find(record.prediction_id)
    assert found is not None
    assert found.record == record
    assert (found.label, found.spooled, found.duplicate_of, found.conflicts_with) == (None, False, None, None)
    assert store.find_transaction("Überweisung 1 ✓") == found
    assert store.find("00000000-0000-7000-8000-ffffffffffff") is None
    assert store.find("no id at all") is None
    assert store.find_transaction("unknown") is None


def test_a_repeated_transaction_gets_the_first_answer(store: DecisionStore, make_record: Make) -> None:
    first = make_record(1.0, transaction_id="t")
    again = make_record(1.0, transaction_id="t", model_version="4")
    other = make_record(2.0, transaction_id="t")
    store.add([first])
    repeated, conflict, new = store.add([again, other, make_record(transaction_id="u")])
    assert repeated == Stored(first, repeated=True)
    assert isinstance(conflict, Conflict)
    assert conflict.status == 409
    assert "'t'" in str(conflict)
    assert isinstance(new, Stored)
    assert not new.repeated
    assert store.find(again.prediction_id) is None
    assert store.find(other.prediction_id) is None


def test_event_time_belongs_to_the_payload(store: DecisionStore, make_record: Make) -> None:
    store.add([make_record(1.0, transaction_id="t")])
    (outcome,) = store.add([make_record(1.0, transaction_id="t", event_time=datetime(2026, 1, 1, tzinfo=UTC))])
    assert isinstance(outcome, Conflict)


def test_a_repetition_inside_one_group(store: DecisionStore, make_record: Make) -> None:
    first, again, other = (make_record(payload, transaction_id="t") for payload in (1.0, 1.0, 2.0))
    outcomes = store.add([first, again, other])
    assert outcomes[:2] == [Stored(first), Stored(first, repeated=True)]
    assert isinstance(outcomes[2], Conflict)


def test_two_stores_race_for_the_same_transactions(store: DecisionStore, make_record: Make) -> None:
    """As two workers do: each transaction has one first answer, which both give."""
    names = [f"t{number}" for number in range(40)]
    batches = [[make_record(1.0, transaction_id=name) for name in names] for _ in range(4)]
    answers: list[list[Stored | Conflict]] = []

    def work(batch: list[DecisionRecord]) -> None:
        own = DecisionStore(store.engine)
        answers.append([own.add([record])[0] for record in batch])

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for outcomes in zip(*answers, strict=True):
        assert {outcome.record.prediction_id for outcome in outcomes if isinstance(outcome, Stored)} == {
            outcomes[0].record.prediction_id  # type: ignore[union-attr]
        }
        assert sum(not outcome.repeated for outcome in outcomes if isinstance(outcome, Stored)) == 1


def test_the_same_transactions_in_other_orders_at_once(postgres_database: str, make_record: Make) -> None:
    """As hedged requests come: inserted in the order of their rows, two of them would wait for one another."""
    with open_store(postgres_database) as store:
        names = [f"t{number:03d}" for number in range(300)]
        answers: dict[str, set[str]] = {name: set() for name in names}
        barrier, errors = threading.Barrier(4), []

        def work(seed: int) -> None:
            order = random.Random(seed).sample(names, len(names))
            records = [make_record(1.0, transaction_id=name) for name in order]
            barrier.wait()
            try:
                for outcome in store.add(records):
                    assert isinstance(outcome, Stored)
                    answers[str(outcome.record.transaction_id)].add(outcome.record.prediction_id)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert {len(given) for given in answers.values()} == {1}


def test_a_deadlock_is_tried_again(postgres_database: str, make_record: Make) -> None:
    with open_store(postgres_database) as store:
        error = psycopg.errors.DeadlockDetected("deadlock detected")
        tried: list[int] = []

        def work(connection: Connection) -> str:
            tried.append(1)
            if len(tried) < 3:
                raise OperationalError("INSERT", {}, error)
            return "done"

        assert store._write(work) == "done"
        tried = [-10]
        with pytest.raises(Busy):
            store._write(lambda _connection: (_ for _ in ()).throw(OperationalError("INSERT", {}, error)))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_transaction_id_that_no_database_can_hold(make_record: Make, name: str) -> None:
    with pytest.raises(InvalidInput, match="NUL or a lone surrogate"):
        make_record(transaction_id=name)


def test_times_need_a_zone(store: DecisionStore, make_record: Make) -> None:
    with pytest.raises(Exception, match="time zone"):
        store.add([replace(make_record(), received_at=datetime(2026, 1, 1))])  # noqa: DTZ001


def run_out(engine: Engine) -> None:
    """As if its holder had been silent for a minute more than the lease lasted."""
    with engine.begin() as connection:
        connection.execute(update(leases).values(expires_at=datetime.now(UTC) - timedelta(minutes=1)))


def test_one_holds_it_and_the_other_hears_who(store: DecisionStore) -> None:
    first = store.take_lease("retrain", "anna", 60)
    assert (first.holder, first.seconds) == ("anna", 60)
    second = store.take_lease("retrain", "bob", 60)
    assert (second.holder, second.since) == ("anna", first.since)
    assert 0 < second.seconds <= 60
    assert store.take_lease("something else", "bob", 60).holder == "bob"


def test_a_clock_that_is_set_back_prolongs_no_lease(store: DecisionStore, engine: Engine) -> None:
    store.take_lease("retrain", "anna", 60)
    with engine.begin() as connection:  # what she wrote an hour later, by the clock of now
        connection.execute(update(leases).values(expires_at=datetime.now(UTC) + timedelta(hours=1)))
    assert store.take_lease("retrain", "bob", 3600).seconds == 60
    standing = store.take_lease("retrain", "bob", 3600)
    assert (standing.holder, 0 < standing.seconds <= 60) == ("anna", True)
    run_out(engine)
    assert store.take_lease("retrain", "bob", 3600).holder == "bob"


def test_what_was_given_back_is_free_and_another_s_cannot_be(store: DecisionStore) -> None:
    store.take_lease("retrain", "anna", 60)
    store.give_lease_back("retrain", "bob")
    assert store.take_lease("retrain", "bob", 60).holder == "anna"
    store.give_lease_back("retrain", "anna")
    assert store.take_lease("retrain", "bob", 60).holder == "bob"


def test_who_is_silent_loses_it_and_hears_so(store: DecisionStore, engine: Engine) -> None:
    store.take_lease("retrain", "anna", 60)
    assert store.keep_lease("retrain", "anna", 60)
    run_out(engine)
    # late, but nobody else wanted it
    assert store.keep_lease("retrain", "anna", 60)
    run_out(engine)
    assert store.take_lease("retrain", "bob", 60).holder == "bob"
    assert not store.keep_lease("retrain", "anna", 60)
    assert store.keep_lease("retrain", "bob", 60)


def test_of_many_at_once_one_gets_it(store: DecisionStore, engine: Engine) -> None:
    def race() -> set[str]:
        barrier, held = threading.Barrier(6), []

        def taker(name: str) -> None:
            barrier.wait()
            held.append(store.take_lease("retrain", name, 60))

        threads = [threading.Thread(target=taker, args=(f"taker {number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 6
        assert all(isinstance(lease, Lease) for lease in held)
        return {lease.holder for lease in held}

    assert len(race()) == 1
    run_out(engine)
    assert len(race()) == 1


def in_turn(turns: Turns, prediction: bool, name: str, order: list[str]) -> threading.Thread:
    """A thread that waits for its turn by now."""

    def work() -> None:
        with turns.take(prediction=prediction):
            order.append(name)

    before = len(turns._waiting)
    thread = threading.Thread(target=work)
    thread.start()
    while len(turns._waiting) == before:
        time.sleep(0.001)
    return thread


def test_predictions_go_first_and_each_kind_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BEHIND_SECONDS", 1_000.0)
    turns, order = Turns(1, 1), []
    with turns.take(prediction=True):
        waiting = [in_turn(turns, kind == "p", f"{kind}{number}", order) for number, kind in enumerate("lplp")]
    for thread in waiting:
        thread.join()
    assert order == ["p1", "p3", "l0", "l2"]


def test_what_is_no_prediction_is_not_kept_out_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BEHIND_SECONDS", 0.0)
    turns, order = Turns(1, 1), []
    with turns.take(prediction=True):
        waiting = [in_turn(turns, kind == "p", f"{kind}{number}", order) for number, kind in enumerate("plp")]
    for thread in waiting:
        thread.join()
    assert order == ["p0", "l1", "p2"]


def test_what_is_no_prediction_leaves_places_to_predictions() -> None:
    turns, order = Turns(2, 1), []
    with turns.take(prediction=False):
        label = in_turn(turns, False, "label", order)
        with turns.take(prediction=True):
            assert order == []
    label.join()
    assert order == ["label"]


def test_labels_that_wait_for_a_locked_file_keep_no_prediction_waiting(
    sqlite_store: DecisionStore, make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for another process's write without keeping their turn."""
    monkeypatch.setattr(store_module, "_PATIENCE_SECONDS", 60.0)
    known = make_record()
    sqlite_store.add([known])
    holder = sqlite3.connect(tmp_path / "decisions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    outcomes: list[str] = []

    def label() -> None:
        outcomes.append(sqlite_store.label([LabelItem(label=1, prediction_id=known.prediction_id)], "ann")[0].outcome)

    threads = [threading.Thread(target=label) for _ in range(20)]
    for thread in threads:
        thread.start()
    with sqlite_store._turns.take(prediction=True):  # comes at once, though all of them ask all the time
        pass
    holder.execute("ROLLBACK")
    holder.close()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] + ["unchanged"] * 19


def test_readers_take_no_connection_from_writers(database_url: str, make_record: Make) -> None:
    with open_store(database_url) as store, ExitStack() as stack:
        for _ in range(READERS):
            stack.enter_context(store._reading()).exec_driver_sql("SELECT 1")
        record = make_record()
        assert store.add([record]) == [Stored(record)]
        assert store.label([LabelItem(label=1, prediction_id="unknown")], "ann")[0].outcome == "unknown"


def test_a_question_that_takes_too_long_is_ended(
    sqlite_store: DecisionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_READ_SECONDS", 0.05)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with open_store(f"sqlite:///{tmp_path}/decisions.db") as store:
        with pytest.raises(QueryTimeout, match="took too long"), store._reading() as connection:
            connection.exec_driver_sql(endless)
        monkeypatch.undo()
        assert store.find("unknown") is None


def test_while_the_spool_takes_over_nobody_else_waits(sqlite_store: DecisionStore, make_record: Make) -> None:
    record = make_record()
    sqlite_store.outage.set()
    with pytest.raises(Unavailable, match="is unreachable"):
        sqlite_store.label([LabelItem(label=1, prediction_id=record.prediction_id)], "ann")
    sqlite_store.ping()
    assert sqlite_store.replay([record]).added == 1


def test_a_trial_is_no_traffic(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk]
) -> None:
    """It takes no transaction_id, no label, and nothing that watches or learns sees it; a purge does."""
    tried = make_record(transaction_id="t", source="trial", decision="DECLINE")
    bulk = make_chunk(20, transaction_ids=[f"b{row}" for row in range(20)], source="trial")
    store.add([tried])
    store.add_segment(bulk)
    real = make_record(transaction_id="t", review_rate=1.0, decision="DECLINE")
    assert store.add([real]) == [Stored(real)]
    again = make_chunk(20, transaction_ids=[f"b{row}" for row in range(20)])
    assert store.add_segment(again).firsts == {}

    ids = [tried.prediction_id, bulk.prediction_ids[1]]
    outcomes = store.label([LabelItem(prediction_id=name, label=1) for name in ids], "ann")
    assert [each.outcome for each in outcomes] == ["trial", "trial"]
    assert {each.record.source for each in store.find_all(ids).values()} == {"trial"}

    [window] = store.slices([START - timedelta(days=1), START + timedelta(days=1)], 100)
    assert sum(window.decisions.values()) == 21
    assert sum(len(sample) for sample in window.samples) == 21
    for tables in (
        store.tables(CREDITCARD),
        store.tables_by_event_time(CREDITCARD, START - timedelta(days=1), START + timedelta(days=1)),
    ):
        assert sum(table.num_rows for table in tables) == 21
    assert [each.record for each in store.page(PageFilter(source="trial")).items] == [tried]
    assert {each.record.source for each in store.page(PageFilter()).items} == {"single", "batch"}


def test_the_queue_knows_amounts_and_what_is_open(
    store: DecisionStore, make_record: Callable[..., DecisionRecord]
) -> None:
    amounts, chances = [10.0, 500.0, 40.0, 900.0], [0.9, 0.1, 0.5, 0.001]
    records = [
        make_record(
            amount - 29 / 7, decision="REVIEW", review_rate=1.0, fraud_probability=chance, key_name=f"key{place % 2}"
        )
        for place, (amount, chance) in enumerate(zip(amounts, chances, strict=True))
    ]
    sample = make_record(1.0, review_rate=0.1, fraud_probability=0.0)
    store.add([*records, sample, make_record()])
    queue = PageFilter(order="expected_loss", for_review=True, labelled=False)
    first = store.page(queue, limit=3)
    shown = [*first.items, *store.page(queue, first.after, limit=3).items]
    assert [each.record for each in shown] == [records[1], records[2], records[0], records[3], sample]

    dear = store.page(PageFilter(amount_from=100, amount_below=900.5, key_name="key1")).items
    assert {each.record.prediction_id for each in dear} == {records[1].prediction_id, records[3].prediction_id}

    now = datetime.now(UTC)
    store.label([LabelItem(prediction_id=records[0].prediction_id, label=1)], "ann")
    store.label([LabelItem(prediction_id=records[0].prediction_id, label=0)], "ben")
    totals = store.queue_totals(PageFilter(), records[2].received_at, now, "ann")
    assert totals == QueueTotals(waiting=4, alerts=3, sample=1, arrived=2, labelled=1, labelled_by_reviewer=1)
    assert store.queue_totals(PageFilter(amount_from=100), None, now + timedelta(hours=1), "ann") == QueueTotals(
        waiting=2, alerts=2, sample=0, arrived=0, labelled=0, labelled_by_reviewer=0
    )


def test_two_analysts_do_not_open_the_same_case(
    store: DecisionStore, make_record: Callable[..., DecisionRecord]
) -> None:
    record = make_record(decision="REVIEW", review_rate=1.0)
    store.add([record])
    name = record.prediction_id

    def outcome(reviewer: str, session: str, seconds: float = 60, prediction_id: str = name) -> str:
        [claimed] = store.claim([prediction_id], reviewer, session, seconds)
        return f"{claimed.outcome} {claimed.reviewer}"

    assert outcome("ann", "one") == "claimed ann"
    assert outcome("ann", "one") == "claimed ann"
    assert outcome("ben", "one") == "taken ann"
    assert outcome("ann", "two") == "taken ann"
    claim = store.page(PageFilter()).items[0].claim
    assert claim is not None
    assert claim.reviewer == "ann"
    assert outcome("ann", "one", seconds=0) == "released None"
    assert store.page(PageFilter()).items[0].claim is None
    assert outcome("ben", "one", seconds=0.001) == "claimed ben"
    time.sleep(0.01)
    assert outcome("ann", "one") == "claimed ann"
    assert outcome("ann", "one", prediction_id="nothing") == "unknown None"
