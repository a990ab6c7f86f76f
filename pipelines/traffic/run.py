"""Sends traffic slice by slice, and labels as soon as event time has come to them."""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from ml_project.review import drawn_for_review
from pipelines.traffic.client import GatewayClient
from pipelines.traffic.source import Sent

_TICKS: Final = 10
"""Slices a second where a rate is asked for."""

_LABELS: Final = 1_000
"""Labels in one request."""


@dataclass(frozen=True)
class Sending:
    """How traffic goes out.

    Attributes
    ----------
    rate : float
        Transactions a second; 0 sends as quickly as the gateway answers.
    batch : int
        Transactions in one request; 1 takes ``/predict``.
    connections : int
        Requests under way at the same time.
    label_delay : timedelta or None
        Event time from a transaction to its label; None sends no labels.
    review_sample_rate : float
        Share of the approved transactions that reviewers look at, too, as the gateway's setting has it.
    """

    rate: float = 0.0
    batch: int = 1
    connections: int = 8
    label_delay: timedelta | None = None
    review_sample_rate: float = 0.001


@dataclass
class Progress:
    """What was done so far."""

    sent: int = 0
    frauds: int = 0
    alerts: int = 0
    labels: int = 0
    began: float = field(default_factory=time.monotonic)
    event_time: datetime | None = None
    waiting: list[tuple[datetime, str, bool]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return max(time.monotonic() - self.began, 1e-9)

    @property
    def per_second(self) -> float:
        """Transactions answered."""
        return self.sent / self.seconds


async def send(
    traffic: Iterator[Sent],
    client: GatewayClient,
    how: Sending,
    progress: Progress,
    on_slice: Callable[[], None] = lambda: None,
) -> None:
    """Send everything; ``progress`` is right at any moment, so that an interrupted run can say how far it came."""
    size = how.batch * how.connections
    if how.rate:
        size = max(1, min(size, round(how.rate / _TICKS)))
    while part := list(islice(traffic, size)):
        if how.rate:
            await asyncio.sleep(max(0.0, progress.sent / how.rate - progress.seconds))
        parts = [part[place : place + how.batch] for place in range(0, len(part), how.batch)]
        await asyncio.gather(*(_score(each, client, how, progress) for each in parts))
        progress.event_time = part[-1].event_time
        await _label(client, progress, progress.event_time)
        on_slice()
    # Traffic of the past: what would have come by today has come.
    await _label(client, progress, datetime.now(UTC))


async def _score(part: list[Sent], client: GatewayClient, how: Sending, progress: Progress) -> None:
    answers: list[Any]
    if how.batch == 1:
        answers = [await client.post("/predict", part[0].body)]
    else:
        answers = await client.post("/predict-batch", [each.body for each in part])
    for each, answer in zip(part, answers, strict=True):
        alert = answer["decision"] != "APPROVE"
        progress.sent += 1
        progress.frauds += each.fraud
        progress.alerts += alert
        # Alerts are reviewed, frauds are reported by customers, and of the rest the gateway's sample is looked at.
        reviewed = alert or drawn_for_review([answer["prediction_id"]], how.review_sample_rate)
        if how.label_delay is not None and (each.fraud or reviewed):
            heapq.heappush(progress.waiting, (each.event_time + how.label_delay, each.transaction_id, each.fraud))


async def _label(client: GatewayClient, progress: Progress, now: datetime) -> None:
    """Send the labels whose time has come."""
    while progress.waiting and progress.waiting[0][0] <= now:
        due: list[dict[str, str]] = []
        while progress.waiting and progress.waiting[0][0] <= now and len(due) < _LABELS:
            _when, name, fraud = heapq.heappop(progress.waiting)
            due.append({"transaction_id": name, "label": "fraud" if fraud else "legitimate"})
        await client.post("/feedback", due)
        progress.labels += len(due)
