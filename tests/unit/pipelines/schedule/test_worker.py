"""A worker's patience with a lock that another process holds."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.schedule.queue import RunRequest, ScheduledRun
from pipelines.schedule.worker import Worker

RUN = ScheduledRun(1, RunRequest("retrain", "schedule"), datetime(2026, 3, 1, tzinfo=UTC))


class Once:
    """A queue with one run in it."""

    def __init__(self) -> None:
        self.waiting = [RUN]

    def take(self, _job: str) -> ScheduledRun | None:
        return self.waiting.pop() if self.waiting else None


@pytest.mark.parametrize(("free_at", "codes", "begun"), [(3, [0], 3), (99, [3], 5)])
def test_a_lock_that_is_taken_is_tried_again_for_a_while(
    tmp_path: Path, free_at: int, codes: list[int], begun: int
) -> None:
    program = (
        "import sys, pathlib; notes = pathlib.Path(sys.argv[1]); "
        "before = notes.read_text() if notes.exists() else ''; notes.write_text(before + 'x'); "
        "sys.exit(0 if len(before) + 1 >= int(sys.argv[2]) else 3)"
    )
    command = [sys.executable, "-S", "-c", program, str(tmp_path / "notes"), str(free_at)]
    ended: list[int] = []
    queue: Any = Once()
    worker = Worker(
        "retrain", queue, lambda _asked: command, tmp_path / "pid", lambda _run, code: ended.append(code), 0.0
    )
    worker.start()
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    worker.join(60)
    assert worker.failure is None
    assert ended == codes
    assert len((tmp_path / "notes").read_text()) == begun
    assert not (tmp_path / "pid").exists()
