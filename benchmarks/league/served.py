"""The winner through the gateway: the test weeks as ``POST /predict``, in order, with labels at their delay.

What came before the first test day is brought in as `promote` does it. Each week is answered by the bundle that was
trained for it, swapped in while the gateway runs. Several clients send; a transaction waits until those before it of
its customer and of its terminal are answered, and until the labels that are a delay older than it are taken.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.gateway import load, servers
from benchmarks.gateway.reference import Reference
from benchmarks.league.entries import OPEN, OPEN_DAYS
from benchmarks.league.protocol import DELAY, WEEK, Figures, day_number, figures, test_rows, training_rows
from benchmarks.league.transactions import League
from ml_project.bundle import Bundle
from ml_project.engine import LocalEngine
from ml_project.history import Integers
from ml_project.operators import SECONDS_PER_DAY
from ml_project.scorer import Scorer
from pipelines.data.past_events import base_events
from stores.decisions import open_store
from stores.decisions.event_plan import EventPlan

CLIENTS: Final = 4
_GROUP: Final = 5_000
_SWAP_SECONDS: Final = 120


@dataclass(frozen=True)
class ServedWeek:
    """A week as the gateway answered it.

    Attributes
    ----------
    requests : int
        All transactions of the days that were sent, those of known victims too: history needs them.
    different : int
        Hybrid scores that are not those of the same bundle on the whole table's features, to the last bit.
    latency : ndarray of shape (requests,)
        Seconds of each.
    seconds : float
        For the whole week.
    figures : Figures
        The league's, by the scores that were answered.
    """

    first_day: date
    requests: int
    different: int
    latency: NDArray[np.float64]
    seconds: float
    figures: Figures


def milliseconds(weeks: Sequence[ServedWeek]) -> dict[str, float]:
    """Median and 99th percentile of all requests."""
    p50, p99 = np.quantile(np.concatenate([week.latency for week in weeks]), [0.5, 0.99]) * 1000
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def week_bundle(league: League, first_day: date) -> Bundle:
    """The open class's model of a week, as a bundle."""
    past = league.ours.take(training_rows(league, first_day, OPEN_DAYS))
    return Reference(past.raw, *LocalEngine().fit(past, OPEN)).bundle


def serve(
    league: League,
    weeks: Sequence[date],
    scratch: Path,
    clients: int = CLIENTS,
    days: int = WEEK,
    replicates: int = 500,
    told: Callable[[str], object] = print,
    bundle_of: Callable[[League, date], Bundle] = week_bundle,
) -> Iterator[ServedWeek]:
    """Send some weeks, one after the other, to one gateway of one process on SQLite.

    With fewer ``days`` only the first of each week are sent; those after them are brought in as the past is.
    """
    begin = day_number(weeks[0])
    table = league.table.assign(transaction=[f"t{row}" for row in range(len(league.table))])
    first = bundle_of(league, weeks[0])
    url = f"sqlite:///{scratch}/decisions.db"
    before = table[league.day < begin]
    plan = EventPlan.of(first.manifest.contract)
    _bring_in(url, plan, before)
    told(f"{len(before):,} transactions were there before")
    sent_days = np.concatenate([np.arange(day_number(week), day_number(week) + days) for week in weeks])
    labels = _Labels(table, league, np.isin(league.day, sent_days))
    more = {"FRAUD_DATABASE_URL": url, "FRAUD_CONTRACT": "cards", "FRAUD_POLL_SECONDS": "0.5"}
    with servers.gateway(scratch, first, **more) as running:
        for number, first_day in enumerate(weeks):
            bundle = first if number == 0 else bundle_of(league, first_day)
            if number:
                _swap(running, bundle, number + 1)
            day = league.day - day_number(first_day)
            rows = np.flatnonzero((day >= 0) & (day < days))
            with labels.to(running) as until:
                sent = _send(running, table.iloc[rows], until, clients)
            offline = Scorer(bundle, threads=1).score(league.ours.raw[rows]).hybrid
            found = ServedWeek(
                first_day,
                len(rows),
                int((sent.score != offline).sum()),
                sent.seconds,
                sent.took,
                _figures(league, first_day, rows, sent.score, replicates),
            )
            _bring_in(url, plan, table[(day >= days) & (day < WEEK)])
            told(
                f"week from {first_day} served: {found.requests:,} requests in {found.seconds:.0f} s, "
                f"{found.different} scores differ, {milliseconds([found])} ms"
            )
            yield found


def _figures(league: League, first_day: date, rows: Integers, score: NDArray[np.float64], replicates: int) -> Figures:
    tested = np.intersect1d(test_rows(league, first_day), rows)
    return figures(league, tested, score[np.searchsorted(rows, tested)], replicates)


def _bring_in(url: str, plan: EventPlan, before: pd.DataFrame) -> None:
    if before.empty:
        return
    with open_store(url) as store:
        events = base_events(plan, before)
        for begin in range(0, len(events), _GROUP):
            store.add_events(plan, events[begin : begin + _GROUP])


def _swap(running: servers.RunningGateway, bundle: Bundle, version: int) -> None:
    servers.publish(running.releases, bundle, version)
    deadline = time.monotonic() + _SWAP_SECONDS
    while servers.live_version(running) != str(version):
        if time.monotonic() > deadline:
            raise RuntimeError(f"version {version} did not go live within {_SWAP_SECONDS} s")
        time.sleep(0.1)


class _Labels:
    """Says of frauds that were sent what they were, as soon as a delayed window can ask; those brought in are known."""

    def __init__(self, table: pd.DataFrame, league: League, sent: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero((league.ours.label == 1) & sent)
        self._names = table["transaction"].iloc[rows].tolist()
        self._due = league.ours.moment[rows] + DELAY * SECONDS_PER_DAY
        self._told = 0

    @contextmanager
    def to(self, running: servers.RunningGateway) -> Iterator[Callable[[float], None]]:
        """What brings a gateway the labels up to a moment."""
        url = f"http://127.0.0.1:{running.port}/feedback"
        with httpx.Client(headers={"X-API-Key": running.key}, timeout=60) as client:

            def until(moment: float) -> None:
                end = int(np.searchsorted(self._due, moment, side="right"))
                given = [{"transaction_id": name, "label": "fraud"} for name in self._names[self._told : end]]
                if given:
                    outcomes = client.post(url, json=given).raise_for_status().json()
                    if any(each["outcome"] != "added" for each in outcomes):
                        raise RuntimeError(f"labels were not taken: {outcomes}")
                self._told = end

            yield until


@dataclass(frozen=True)
class _Sent:
    """Answers in the order of the rows."""

    score: NDArray[np.float64]
    seconds: NDArray[np.float64]
    took: float


def _send(
    running: servers.RunningGateway, table: pd.DataFrame, labels_until: Callable[[float], None], clients: int
) -> _Sent:
    target = running.target("/predict")
    times = table["at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ").tolist()
    moments = table["at"].dt.as_unit("us").astype("int64").to_numpy() / 1e6
    sent = table[["transaction", "customer", "terminal"]].astype(str).assign(at=times, amount=table["amount"])
    requests = [target.request(json.dumps(row).encode()) for row in sent.to_dict("records")]
    score, seconds = np.full(len(table), np.nan), np.full(len(table), np.nan)
    connections = threading.local()

    def act(row: int) -> None:
        begun = time.perf_counter()
        answer = load.ask(connections.one, requests[row])
        seconds[row] = time.perf_counter() - begun
        score[row] = json.loads(answer)["hybrid_score"]

    @contextmanager
    def client() -> Iterator[None]:
        with load.connected(target.port) as connections.one:
            yield

    begun = time.perf_counter()
    keys = [pd.factorize(table[name])[0].tolist() for name in ("customer", "terminal")]
    load.in_key_order(keys, act, lambda row: labels_until(float(moments[row])), client, clients)
    return _Sent(score, seconds, time.perf_counter() - begun)
