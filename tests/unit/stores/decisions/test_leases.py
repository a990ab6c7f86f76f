import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update

from stores.decisions import DecisionStore, Lease
from stores.decisions.schema import leases


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
