"""The scheduler as a real process: what it missed, what crashes, what is told to stop, and what kills it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ml_project.errors import InvalidInput
from pipelines.cli.operations import schedule
from pipelines.schedule.queue import PlannedJob, RunQueue, ScheduleDatabase, schedule_runs
from pipelines.schedule.run import CronLine, Scheduler
from pipelines.settings import PipelineSettings

ROOT = Path(__file__).resolve().parents[4]
SCHEDULER = Path(__file__).with_name("scheduler.py")
SUNDAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIGHTLY, YEARLY = "0 3 * * *", "0 0 1 1 *"


class Site:
    """A folder with a scheduler's database, what its children are told, and what they did."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.started: list[subprocess.Popen[str]] = []

    def overdue(self, job: str, cron: str, hours: float) -> None:
        """As if the scheduler had been away since."""
        database = ScheduleDatabase(self.url)
        RunQueue(database).plan(PlannedJob(job, cron, datetime.now(UTC) - timedelta(hours=hours)))
        database.engine.dispose()

    def start(self, *crons: str, **settings: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        own = {"FRAUD_STATE_DIR": str(self.folder / "var"), "FRAUD_SCHEDULE_URL": self.url, "PYTHONPATH": str(ROOT)}
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", str(SCHEDULER), str(self.folder), *crons],
                env=kept | own | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def notes(self) -> list[str]:
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def ended(self) -> list[tuple[str, str, int | None]]:
        database = ScheduleDatabase(self.url)
        RunQueue(database)
        columns = schedule_runs.c
        query = select(columns.job, columns.reason, columns.exit_code).order_by(columns.run_id)
        with database.engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        database.engine.dispose()
        return rows  # type: ignore[return-value]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, f"sqlite:///{tmp_path}/schedule.db")
    yield made
    for process in made.started:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def stopped(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(60)


def test_what_was_missed_is_done_once_and_a_crash_is_a_line(site: Site) -> None:
    site.overdue("retrain", "0 * * * *", 5)
    site.overdue("monitor", "0 * * * *", 5)
    (site.folder / "retrain").write_text("crash")
    process = site.start("0 * * * *", "0 * * * *")
    until(lambda: site.log.count("exit code") == 2, lambda: site.log)
    said = site.log
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.search(rf"retrain \(schedule\): {moment} to {moment}, exit code -9 \(crashed\), next {moment}", said)
    assert re.search(rf"monitor \(schedule\): {moment} to {moment}, exit code 0 \(done\), next {moment}", said)
    assert process.poll() is None
    assert stopped(process) == 0
    assert sorted(site.notes) == ["began monitor", "began retrain --reason schedule", "ended monitor"]
    assert sorted(site.ended()) == [("monitor", "schedule", 0), ("retrain", "schedule", -9)]


@pytest.mark.slow
def test_what_is_too_late_is_left_and_said(site: Site) -> None:
    site.overdue("retrain", YEARLY, 13)
    process = site.start(YEARLY)
    until(lambda: "was missed, more than 12 h late" in site.log, lambda: site.log)
    assert stopped(process, signal.SIGINT) == 130
    assert site.notes == []


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["true", "false"])
def test_a_breach_is_followed_by_retraining_where_that_is_wanted(site: Site, wanted: str) -> None:
    site.overdue("monitor", NIGHTLY, 1)
    (site.folder / "monitor").write_text("4")
    process = site.start(YEARLY, NIGHTLY, FRAUD_RETRAIN_ON_BREACH=wanted)
    until(lambda: site.log.count("exit code") == (2 if wanted == "true" else 1), lambda: site.log)
    assert "exit code 4 (breach)" in site.log
    assert stopped(process) == 0
    followed = ["began retrain --reason drift", "ended retrain --reason drift"]
    assert site.notes[2:] == (followed if wanted == "true" else [])


@pytest.mark.slow
@pytest.mark.parametrize("child", ["long", "deaf"])
def test_a_child_is_told_to_stop_and_begins_again_at_the_next_start(site: Site, child: str) -> None:
    site.overdue("retrain", NIGHTLY, 1)
    (site.folder / "retrain").write_text(child)
    process = site.start(NIGHTLY, FRAUD_SCHEDULE_STOP_SECONDS="1")
    until(lambda: len(site.notes) == 1, lambda: site.log)
    assert stopped(process) == 0
    assert site.notes[1:] == (["told retrain --reason schedule"] if child == "long" else [])
    assert site.ended() == [("retrain", "schedule", None)]
    (site.folder / "retrain").write_text("0")
    again = site.start(NIGHTLY)
    until(lambda: "exit code 0" in site.log, lambda: site.log)
    assert "retrain (schedule) was cut short and begins again" in site.log
    assert stopped(again) == 0
    assert site.ended() == [("retrain", "schedule", 0)]


@pytest.mark.slow
def test_a_child_that_outlived_a_killed_scheduler_is_ended_and_begun_again(site: Site) -> None:
    site.overdue("retrain", NIGHTLY, 1)
    (site.folder / "retrain").write_text("long")
    process = site.start(NIGHTLY)
    until(lambda: len(site.notes) == 1, lambda: site.log)
    process.kill()
    process.wait()
    orphan = int((site.folder / "var" / "schedule-retrain.pid").read_text())
    assert Path(f"/proc/{orphan}").exists()
    (site.folder / "retrain").write_text("0")
    again = site.start(NIGHTLY)
    until(lambda: "exit code 0" in site.log, lambda: site.log)
    assert stopped(again) == 0
    assert [note.split()[0] for note in site.notes] == ["began", "told", "began", "ended"]
    assert site.ended() == [("retrain", "schedule", 0)]


@pytest.mark.parametrize("moment", ["hold", "resume", "jobs", "plan"])
def test_a_stop_in_the_middle_of_its_start_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    owner = ScheduleDatabase if moment == "hold" else RunQueue
    step = getattr(owner, moment)

    def told_to_stop(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    monkeypatch.setattr(owner, moment, told_to_stop)
    handler = signal.getsignal(signal.SIGTERM)
    settings = PipelineSettings(state_dir=tmp_path, schedule_url=f"sqlite:///{tmp_path}/schedule.db")
    Scheduler(settings, {"retrain": YEARLY}).run()
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.slow
def test_a_changed_line_counts_from_now_and_one_left_out_is_forgotten(site: Site) -> None:
    site.overdue("retrain", NIGHTLY, 1)
    site.overdue("monitor", NIGHTLY, 1)
    process = site.start(YEARLY)
    until(lambda: "retrain by '0 0 1 1 *'" in site.log, lambda: site.log)
    assert stopped(process) == 0
    assert site.notes == []
    database = ScheduleDatabase(site.url)
    assert list(RunQueue(database).jobs()) == ["retrain"]
    database.engine.dispose()


@pytest.mark.slow
def test_there_is_one_scheduler_and_a_database_that_restarts_is_waited_for(
    tmp_path: Path, postgres_server, postgres_database: str
) -> None:
    site = Site(tmp_path, postgres_database)
    site.overdue("retrain", NIGHTLY, 1)
    (tmp_path / "retrain").write_text("long")
    first = site.start(NIGHTLY)
    try:
        until(lambda: len(site.notes) == 1, lambda: site.log)
        second = site.start(NIGHTLY, FRAUD_STATE_DIR=str(tmp_path / "elsewhere"))
        assert second.wait(60) == 3
        assert "Another scheduler is using" in site.log
        postgres_server.stop("fast")
        os.kill(int((tmp_path / "var" / "schedule-retrain.pid").read_text()), signal.SIGTERM)
        until(lambda: "Trying again" in site.log, lambda: site.log)
        postgres_server.start()
        until(lambda: "exit code 130" in site.log, lambda: site.log)
        assert stopped(first) == 0
    finally:
        for process in site.started:
            process.kill()
            process.wait()
    assert site.ended() == [("retrain", "schedule", 130)]


def following(line: str, times: int = 4) -> list[str]:
    cron, found, now = CronLine(line), [], SUNDAY
    for _ in range(times):
        now = cron.after(now)
        assert cron.latest(now) == cron.latest(now + timedelta(seconds=30)) == now
        found.append(f"{now:%a %d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("0 3 * * *", ["Mon 02 03:00", "Tue 03 03:00", "Wed 04 03:00", "Thu 05 03:00"]),
        ("*/20 13 * * *", ["Sun 01 13:00", "Sun 01 13:20", "Sun 01 13:40", "Mon 02 13:00"]),
        ("0 3 * * 1", ["Mon 02 03:00", "Mon 09 03:00", "Mon 16 03:00", "Mon 23 03:00"]),
        ("0 3 * * 0", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00", "Sun 29 03:00"]),
        ("0 3 * * 7", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00", "Sun 29 03:00"]),
        ("0 3 * * 5-7", ["Fri 06 03:00", "Sat 07 03:00", "Sun 08 03:00", "Fri 13 03:00"]),
        ("0 3 * * Sat-Mon", ["Mon 02 03:00", "Sat 07 03:00", "Sun 08 03:00", "Mon 09 03:00"]),
        ("0 3 * * fri-mon/2", ["Fri 06 03:00", "Sun 08 03:00", "Fri 13 03:00", "Sun 15 03:00"]),
        ("0 3 * * */3,tue", ["Tue 03 03:00", "Wed 04 03:00", "Sat 07 03:00", "Sun 08 03:00"]),
        ("0 3 10 * 1", ["Mon 02 03:00", "Mon 09 03:00", "Tue 10 03:00", "Mon 16 03:00"]),
    ],
)
def test_lines_mean_what_cron_takes_them_to_mean(line: str, times: list[str]) -> None:
    assert following(line) == times


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "has 0 fields"),
        ("0 3 * * * *", "has 6 fields"),
        ("60 3 * * *", "bad minute"),
        ("0 3 * * 8", "bad day-of-week"),
        ("0 3 * * -1", "bad day-of-week"),
        ("0 3 * * 1/0", "is not a cron line"),
        ("soon 3 * * *", "bad minute"),
        ("0 3 * * sat-mon/0", "bad day-of-week"),
        ("0 0 31 6 *", "never occurs"),
    ],
)
def test_others_are_refused_with_an_example(line: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        CronLine(line)
    assert '"0 3 * * *"' in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"retrain": "0 3 * * 1", "monitor": "15 0 * * *"}),
        ({"monitor_cron": "0 * * * *"}, {"monitor": "0 * * * *"}),
        ({"cron": "0 4 1 * *"}, {"retrain": "0 4 1 * *"}),
    ],
)
def test_without_options_it_retrains_once_a_week_and_monitors_once_a_day(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: dict[str, str]
) -> None:
    asked: list[dict[str, str]] = []

    class Recorder:
        def __init__(self, _settings: object, crons: dict[str, str]) -> None:
            asked.append(crons)

        def run(self) -> None:
            for line in asked[-1].values():
                CronLine(line)

    monkeypatch.setattr("pipelines.schedule.run.Scheduler", Recorder)
    schedule(**given)
    assert asked == [expected]
