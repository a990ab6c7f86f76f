import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, update

from ml_project.errors import InvalidInput
from stores.decisions import Conflict, DecisionRecord, DecisionStore, Lease, Stored
from stores.decisions.schema import leases

Make = Callable[..., DecisionRecord]


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
