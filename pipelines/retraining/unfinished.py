"""Which retraining goes on: the newest one, where it was cut short, asked for the same and is not too old."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Final

from pipelines.settings import PipelineSettings
from pipelines.tracking import STEP_TAG, Run, Tracker

STEP: Final = "retrain"
ORDER_TAG: Final = "retrain.order"
OUTCOME_TAG: Final = "retrain.outcome"

GOES_ON_FOR: Final = timedelta(days=1)
"""Later there is a day's labels more to learn from, and what stopped it may be its data."""

_ASKED: Final = (
    *("data", "missing", "simulated_rows", "label_delay_days"),
    *("trials", "folds", "tuning_rows", "seed", "threads", "replicates"),
    *("policy", "review_cost", "alerts_per_day", "fpr", "decline_precision"),
)
"""Settings that a run's parameters or its data depend on."""


def order_of(settings: PipelineSettings) -> str:
    """A digest of what is asked of a retraining: another order is another run."""
    asked = {name: getattr(settings, name) for name in _ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def unfinished(tracker: Tracker, settings: PipelineSettings, now: datetime) -> Run | None:
    """The run that a kill, an interruption or a server's absence cut short; None where the last one ended."""
    found = tracker.client.search_runs(
        [tracker.experiment_id],
        filter_string=f"tags.`{STEP_TAG}` = '{STEP}' and tags.`{ORDER_TAG}` = '{order_of(settings)}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not found or OUTCOME_TAG in found[0].data.tags:
        return None
    age = now.timestamp() - found[0].info.start_time / 1000
    return tracker.run(found[0].info.run_id) if age < GOES_ON_FOR.total_seconds() else None
