import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from ml_project.errors import LostRace, Unavailable
from pipelines.retraining.lease import hold_lease
from stores.decisions import DecisionStore, migrate, open_engine


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DecisionStore]:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    yield DecisionStore(engine)
    engine.dispose()


class Trembling(DecisionStore):
    """A store whose database is unreachable at the first sign of life, and there again at the next."""

    def __init__(self, store: DecisionStore) -> None:
        super().__init__(store.engine)
        self.asked = 0
        self.kept = threading.Event()

    def keep_lease(self, name: str, holder: str, seconds: float) -> bool:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("The database is unreachable.")
        alive = super().keep_lease(name, holder, seconds)
        self.kept.set()
        return alive


def run_out(store: DecisionStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE leases SET expires_at = '2000-01-01 00:00:00.000000'"))


def test_who_comes_second_hears_who_runs_and_until_when(store: DecisionStore) -> None:
    with hold_lease(store, "retrain", "anna", 60):
        with pytest.raises(LostRace, match=r"by anna on .*, process \d+.*runs out in (60|59) s"):
            hold_lease(store, "retrain", "bob", 60).__enter__()
        hold_lease(store, "another model", "bob", 60).__enter__().stop()
    with hold_lease(store, "retrain", "bob", 60) as lease:
        lease.require()


def test_a_crashed_holder_s_lease_is_taken_over_and_it_may_do_no_more(store: DecisionStore) -> None:
    with hold_lease(store, "retrain", "anna", 60) as crashed:
        run_out(store)
        with hold_lease(store, "retrain", "bob", 60) as taker:
            taker.require()
            with pytest.raises(LostRace, match="Another process has taken over"):
                crashed.require()
    # the loser gave nothing back that was not its own, and the taker all
    with hold_lease(store, "retrain", "carol", 60):
        pass


def test_an_exception_frees_it(store: DecisionStore) -> None:
    with pytest.raises(KeyboardInterrupt), hold_lease(store, "retrain", "anna", 60):
        raise KeyboardInterrupt
    with hold_lease(store, "retrain", "bob", 60):
        pass


def test_a_database_that_is_away_for_a_moment_costs_nothing(
    store: DecisionStore, caplog: pytest.LogCaptureFixture
) -> None:
    trembling = Trembling(store)
    with caplog.at_level(logging.WARNING), hold_lease(trembling, "retrain", "anna", 1) as lease:
        assert trembling.kept.wait(60)
        lease.require()
    assert "no sign of life for the lease retrain: The database is unreachable." in caplog.text
