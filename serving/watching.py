"""Live traffic for the page's charts, worked out now and then however many pages are open."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from serving.live_model import LiveModel, ModelSlot
from serving.watch_answer import WatchAnswer

if TYPE_CHECKING:
    from stores.decisions import DecisionStore

SECONDS: Final = 10.0
"""How long an answer is given again."""

SAMPLE: Final = 10_000
"""Rows that scores, latencies and drift are worked out from: a third of a second's work, on a thread of its own."""

_REMEMBERED: Final = 8


class Watching:
    """Answers about windows that end now.

    Parameters
    ----------
    slot : ModelSlot
    """

    def __init__(self, slot: ModelSlot) -> None:
        self._slot = slot
        self._lock = threading.Lock()
        self._known: dict[tuple[float, int], tuple[float, WatchAnswer]] = {}

    def read(self, store: "DecisionStore", hours: float, buckets: int) -> WatchAnswer:
        """What happened in the last hours; blocks, and belongs on a worker thread.

        Raises
        ------
        Unavailable
            When the database does not answer.
        """
        with self._lock:  # one at a time: whoever comes meanwhile gets the same answer
            until, answer = self._known.pop((hours, buckets), (0.0, None))
            if answer is None or time.monotonic() > until:
                answer = watch(store, self._slot.current, datetime.now(UTC), hours, buckets)
                until = time.monotonic() + SECONDS
            self._known[hours, buckets] = until, answer
            while len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
            return answer


def watch(store: "DecisionStore", model: LiveModel | None, now: datetime, hours: float, count: int) -> WatchAnswer:
    """What was received in the hours before a moment, in so many buckets."""
    from serving import watch_figures as figures  # Arrow and SQLAlchemy, which the gateway starts without

    step = timedelta(hours=hours) / count
    edges = [now - step * (count - place) for place in range(count + 1)]
    slices = store.slices(edges, SAMPLE)
    outcomes = store.outcomes(edges[0], now)
    labels = figures.labels(outcomes)
    frauds = labels.alerts_fraud + labels.approved_fraud
    return WatchAnswer(
        since=edges[0],
        until=now,
        bucket_seconds=step.total_seconds(),
        rows=sum(sum(each.decisions.values()) for each in slices),
        sampled_rows=sum(len(sample) for each in slices for sample in each.samples),
        model_version=None if model is None else model.version,
        alert_threshold=None if model is None else model.scorer.thresholds.alert,
        decline_threshold=None if model is None else model.scorer.thresholds.decline,
        buckets=figures.buckets(slices, outcomes),
        drift=None if model is None else figures.drift(slices, model, hours),
        precision=labels.alerts_fraud / labels.alerts_labelled if labels.alerts_labelled else None,
        recall=labels.alerts_fraud / frauds if frauds else None,
        review_sample=figures.review_sample(slices, outcomes),
        shadow=figures.shadows(store.shadowed(edges[0], now)),
    )
