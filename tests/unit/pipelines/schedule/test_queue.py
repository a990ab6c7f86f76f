"""The queue, on both databases."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from ml_project.errors import InvalidInput, Unavailable
from pipelines.schedule.queue import PlannedJob, RunQueue, RunRequest, ScheduleDatabase, schedule_runs
from tests.support.processes import free_port

RETRAIN, DRIFT, MONITOR = (
    RunRequest("retrain", "schedule"),
    RunRequest("retrain", "drift"),
    RunRequest("monitor", "schedule"),
)


@pytest.fixture
def database(database_url: str) -> Iterator[ScheduleDatabase]:
    opened = ScheduleDatabase(database_url)
    yield opened
    opened.engine.dispose()


def test_runs_come_in_the_order_in_which_they_were_asked_for_each_once(database: ScheduleDatabase) -> None:
    runs = RunQueue(database)
    assert [runs.ask(each) for each in (RETRAIN, DRIFT, RETRAIN, MONITOR)] == [True, True, False, True]
    first = runs.take("retrain")
    assert first is not None
    assert first.asked == RETRAIN
    assert runs.ask(RETRAIN)  # the one before has begun, and knows nothing of what came since
    runs.end(first, 0)
    second = runs.take("retrain")
    assert second is not None
    assert second.asked == DRIFT


def test_what_was_cut_short_waits_again_and_is_not_asked_for_twice(database: ScheduleDatabase) -> None:
    runs = RunQueue(database)
    runs.ask(RETRAIN)
    begun = runs.take("retrain")
    successor = RunQueue(database)
    assert successor.resume() == [RETRAIN]
    assert not successor.ask(RETRAIN)
    again = successor.take("retrain")
    assert begun is not None
    assert again is not None
    assert again.run_id == begun.run_id
    successor.end(again, 1)
    assert successor.resume() == []
    assert successor.take("retrain") is None


def test_what_follows_a_run_is_asked_for_with_its_end(database: ScheduleDatabase) -> None:
    runs = RunQueue(database)
    runs.ask(MONITOR)
    watched = runs.take("monitor")
    assert watched is not None
    ended = runs.end(watched, 4, DRIFT)
    following = runs.take("retrain")
    assert following is not None
    assert following.asked == DRIFT
    with database.engine.connect() as connection:
        row = connection.execute(select(schedule_runs).where(schedule_runs.c.job == "monitor")).one()
    assert (row.exit_code, row.ended_at, row.started_at) == (4, ended, watched.started_at)


def test_jobs_are_kept_as_text(database: ScheduleDatabase) -> None:
    queue = RunQueue(database)
    due = datetime(2026, 3, 1, 3, tzinfo=UTC)
    queue.plan(PlannedJob("retrain", "0 3 * * *", due))
    later = PlannedJob("retrain", "0 4 * * *", due + timedelta(hours=1))
    queue.plan(later)
    assert queue.jobs() == {"retrain": later}
    with database.engine.connect() as connection:
        state, when = connection.execute(text("SELECT job_state, next_run_time FROM schedule_jobs")).one()
    assert when == later.due_at.timestamp()
    assert json.loads(bytes(state)) == {
        "id": "retrain",
        "cron": "0 4 * * *",
        "next_run_time": "2026-03-01T04:00:00+00:00",
    }
    queue.forget("retrain")
    assert queue.jobs() == {}


def test_a_run_is_asked_for_and_the_job_planned_anew_in_one_transaction(database: ScheduleDatabase) -> None:
    queue = RunQueue(database)
    due = datetime(2026, 3, 1, 3, tzinfo=UTC)
    for day in range(2):
        following = PlannedJob("retrain", "0 3 * * *", due + timedelta(days=day))
        assert queue.ask(RETRAIN, following) is (day == 0)
        assert queue.jobs() == {"retrain": following}


@pytest.mark.parametrize("url", ["mysql://me:sesame@host/x", "sesame", "postgresql://me:sesame@host:port/x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput, match="FRAUD_SCHEDULE_URL") as caught:
        ScheduleDatabase(url)
    assert "sesame" not in str(caught.value)


def test_a_database_that_is_away_at_the_start_is_said_at_once() -> None:
    with pytest.raises(Unavailable, match="the connection is refused") as caught:
        RunQueue(ScheduleDatabase(f"postgresql://me:sesame@127.0.0.1:{free_port()}/x"))
    assert "sesame" not in str(caught.value)
