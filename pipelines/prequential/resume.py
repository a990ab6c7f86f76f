"""A run that is gone on with: found again by what its outcome depends on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipelines.tracking import STEP_TAG, Run, Tracker, ended, start

KEY_TAG: Final = "fraud.key"
"""A digest of everything that a run's outcome depends on."""


@contextmanager
def resumable_run(tracker: Tracker, step: str, key: str) -> Iterator[Run]:
    """The run of this key, finished or not, else a new one; ended with the block."""
    client, experiment_id = tracker.client, tracker.experiment_id
    found = client.search_runs([experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    if found:
        run = Run(client, found[0].info.run_id, experiment_id)
        client.update_run(run.id, status="RUNNING")
    else:
        name = f"{step} {time.strftime('%Y-%m-%d %H:%M')}"
        run = start(client, experiment_id, name, {STEP_TAG: step, KEY_TAG: key})
    with ended(run):
        yield run
