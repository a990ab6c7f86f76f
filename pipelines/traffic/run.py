"""Sends traffic to a gateway slice by slice, and labels once event time has reached them.

A gateway that restarts is waited for: transactions without an answer are sent again under the same transaction_id.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import httpx

from ml_project.errors import InvalidInput, Unavailable
from ml_project.policies import Decision
from ml_project.review import drawn_for_review
from pipelines.traffic.source import TrafficTransaction

_LONGEST_PAUSE: Final = 5.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504, 507})

_TICKS: Final = 10
"""Slices a second where a rate is set."""

_LABELS: Final = 1_000
"""Labels in one request."""


class GatewayClient:
    """Sends JSON, and retries while a gateway is unreachable or overloaded.

    Parameters
    ----------
    url, key : str
        Address, and API key (empty for a gateway in open mode).
    connections : int
        Most requests under way at the same time.
    patience : float
        Seconds without an answer after which it gives up.
    """

    def __init__(self, url: str, key: str, connections: int, patience: float) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, limits=limits, timeout=30)
        self._url = url
        self._patience = patience
        self.retries = 0

    async def __aenter__(self) -> "GatewayClient":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a JSON body.

        Raises
        ------
        InvalidInput
            When the gateway refuses the key or the body: another try would change nothing.
        Unavailable
            When there is no answer within ``patience``.
        """
        begun, pause = time.monotonic(), 0.1
        while True:
            try:
                answer = await self._client.post(path, json=body)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise InvalidInput(
                    f"{self._url} is not the address of a gateway.", "Give --url http://host:8000."
                ) from error
            except httpx.TransportError as error:
                reason, wait = type(error).__name__, pause
            else:
                if answer.is_success:
                    return answer.json()
                reason, wait = _reason(answer), _wait(answer, pause)
                if answer.status_code not in _AGAIN:
                    raise InvalidInput(f"The gateway refused {path}: {reason}", _remedy(answer.status_code))
            if time.monotonic() - begun + wait > self._patience:
                raise Unavailable(f"The gateway at {self._url} does not answer {path}: {reason}.", "Start it.")
            self.retries += 1
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reason(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json().get('detail', '')}"[:300]
    except ValueError:
        return str(answer.status_code)


def _wait(answer: httpx.Response, pause: float) -> float:
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isdecimal() else pause


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Give --key (or FRAUD_API_KEY) a key with the scopes predict and feedback."
    if status == 409:
        return "These transactions were sent before with other values: give another --seed or --start."
    return ""


@dataclass(frozen=True)
class SendOptions:
    """How traffic goes out.

    Attributes
    ----------
    rate : float
        Transactions a second; 0 sends as quickly as the gateway answers.
    batch : int
        Transactions in one request; 1 uses ``/predict``.
    connections : int
        Requests sent at the same time.
    label_delay : timedelta or None
        Event time from a transaction to its label; None sends no labels.
    review_sample_rate : float
        Share of the approvals that reviewers look at too; the gateway's setting of that name.
    """

    rate: float = 0.0
    batch: int = 1
    connections: int = 8
    label_delay: timedelta | None = None
    review_sample_rate: float = 0.001


@dataclass
class Progress:
    """What has been sent so far."""

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
    traffic: Iterator[TrafficTransaction],
    client: GatewayClient,
    how: SendOptions,
    progress: Progress,
    on_slice: Callable[[], None] = lambda: None,
) -> None:
    """Send everything; ``progress`` is correct at any moment, so that an interrupted run can report how far it got."""
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
    # Traffic of the past: labels that would have arrived by now are sent.
    await _label(client, progress, datetime.now(UTC))


async def _score(part: list[TrafficTransaction], client: GatewayClient, how: SendOptions, progress: Progress) -> None:
    answers: list[Any]
    if how.batch == 1:
        answers = [await client.post("/predict", part[0].body)]
    else:
        answers = await client.post("/predict-batch", [each.body for each in part])
    for each, answer in zip(part, answers, strict=True):
        alert = answer["decision"] != Decision.APPROVE
        progress.sent += 1
        progress.frauds += each.fraud
        progress.alerts += alert
        # Alerts are reviewed, frauds are reported by customers, and of the rest a sample is reviewed.
        reviewed = alert or drawn_for_review([answer["prediction_id"]], how.review_sample_rate)
        if how.label_delay is not None and (each.fraud or reviewed):
            heapq.heappush(progress.waiting, (each.event_time + how.label_delay, each.transaction_id, each.fraud))


async def _label(client: GatewayClient, progress: Progress, now: datetime) -> None:
    """Send the labels that are due."""
    while progress.waiting and progress.waiting[0][0] <= now:
        due: list[dict[str, str]] = []
        while progress.waiting and progress.waiting[0][0] <= now and len(due) < _LABELS:
            _when, name, fraud = heapq.heappop(progress.waiting)
            due.append({"transaction_id": name, "label": "fraud" if fraud else "legitimate"})
        await client.post("/feedback", due)
        progress.labels += len(due)
