"""Clients that ask a gateway without a pause, remember what it acknowledged, and check every answer at once."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from ml_project.scorer import Scorer
from serving.routes.examples import csv_of
from tests.support.creditcard import RAW_FEATURES
from tests.support.gateway import KEY

CLIENTS = 16
BATCH_ROWS = 24
_PAUSE = 0.05
"""Seconds after a request that came to nothing."""

_ULPS = 1e-6
"""Float32 sums and powers differ in their last digits by a row's place in a batch."""


class Acknowledged(NamedTuple):
    """A prediction that some client was told."""

    prediction_id: str
    model_version: str
    hybrid_score: float
    kept: str
    row: int
    """Which of the transactions."""


def in_database(one: Acknowledged) -> bool:
    return one.kept == "database"


def in_spool(one: Acknowledged) -> bool:
    return one.kept == "spool"


@dataclass(frozen=True)
class Transactions:
    """What clients send, and the versions that may answer it."""

    raw: np.ndarray
    versions: dict[str, Scorer]

    def json(self, row: int) -> dict[str, Any]:
        return dict(zip(RAW_FEATURES, self.raw[row].tolist(), strict=True))

    def scores(self) -> dict[str, list[float]]:
        """Version to the hybrid score of each row."""
        return {version: scorer.score(self.raw).hybrid.tolist() for version, scorer in self.versions.items()}

    def told_apart(self) -> "Transactions":
        """Those whose scores alone tell which version gave them."""
        pairs = itertools.combinations(map(np.array, self.scores().values()), 2)
        apart = np.min([np.abs(one - other) for one, other in pairs], axis=0)
        return Transactions(self.raw[apart > 100 * _ULPS], self.versions)


class Repeats:
    """A thread that sends every transaction until it was answered twice, as clients do that saw a connection break.

    A context manager.

    Parameters
    ----------
    ports : list of int
        Of gateways over one database, asked in turns.
    transactions : Transactions
    """

    def __init__(self, ports: list[int], transactions: Transactions) -> None:
        self._ports = itertools.cycle(ports)
        self._transactions = transactions
        self._told: dict[str, list[str]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def told_differently(self) -> dict[str, list[str]]:
        """Transactions that were answered by more than one prediction."""
        return {name: told for name, told in self._told.items() if len(set(told)) > 1}

    def wait_for_one_more(self) -> None:
        """Until a transaction that is sent from now on was answered twice."""
        deadline, begun = time.monotonic() + 60, len(self._told)
        while len(self._told) < begun + 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _run(self) -> None:
        for number in itertools.count():
            name = f"repeated-{number}"
            sent = json.dumps(self._transactions.json(number % len(self._transactions.raw)) | {"transaction_id": name})
            told = self._told.setdefault(name, [])
            while len(told) < 2:
                if self._stopping.is_set():
                    return
                answer = self._ask(sent)
                if answer is None:
                    time.sleep(_PAUSE)
                else:
                    told.append(answer)

    def _ask(self, body: str) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", next(self._ports), timeout=60)
        try:
            connection.request("POST", "/predict", body, {"X-API-Key": KEY, "Content-Type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
            return str(content["prediction_id"]) if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class Clients:
    """16 threads, half of them with single rows, the others with batches in JSON and CSV; a context manager.

    Parameters
    ----------
    pause : float
        Seconds that each waits between two requests.

    Attributes
    ----------
    seconds : list of float
        How long each answer took.
    wrong : list of str
        Answers whose scores are not those of the version they name, or that mix versions.
    refused : Counter
        Answers other than 200, by status.
    unanswered : list of str
        Requests whose connection broke or was refused.
    """

    def __init__(self, port: int, transactions: Transactions, pause: float = 0.0) -> None:
        self.seconds: list[float] = []
        self._pause = pause
        self.acknowledged: list[Acknowledged] = []
        self.first_rows: list[str] = []
        self.wrong: list[str] = []
        self.refused: Counter[int] = Counter()
        self.unanswered: list[str] = []
        self.requests = 0
        self._port = port
        self._transactions = transactions
        self._scores = transactions.scores()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, matching: Callable[[Acknowledged], bool] = lambda _one: True) -> None:
        """Until that many further predictions of a kind were acknowledged."""
        deadline, start = time.monotonic() + 60, len(self.acknowledged)
        while sum(map(matching, self.acknowledged[start:])) < more:
            assert time.monotonic() < deadline, (self.refused, self.unanswered[-3:], self.wrong[-3:])
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        rows = itertools.cycle(np.random.default_rng(number).permutation(len(self._transactions.raw)).tolist())
        while not self._stopping.is_set():
            asked = list(itertools.islice(rows, 1 if number % 2 == 0 else BATCH_ROWS))
            try:
                self._ask(connection, number, asked)
                self._stopping.wait(self._pause)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.unanswered.append(repr(error))
                time.sleep(_PAUSE)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int, rows: list[int]) -> None:
        sent = [self._transactions.json(row) for row in rows]
        path, body, kind = "/predict-batch", json.dumps(sent), "application/json"
        if number % 2 == 0:
            path, body = "/predict", json.dumps(sent[0])
        elif number % 4 == 3:
            body, kind = csv_of(sent), "text/csv"
        headers = {"X-API-Key": KEY, "Content-Type": kind, "Accept": "application/json"}
        started = time.monotonic()
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        self.seconds.append(time.monotonic() - started)
        answers = json.loads(content)
        with self._lock:
            self.requests += 1
            if response.status == 200:
                self._take(rows, answers if isinstance(answers, list) else [answers])
                return
            self.refused[response.status] += 1
        time.sleep(_PAUSE)

    def _take(self, rows: list[int], answers: list[Mapping[str, Any]]) -> None:
        versions = {answer["model_version"] for answer in answers}
        expected = [self._scores[answer["model_version"]][row] for row, answer in zip(rows, answers, strict=True)]
        got = [answer["hybrid_score"] for answer in answers]
        if len(versions) != 1 or np.abs(np.subtract(got, expected)).max() > _ULPS:
            self.wrong.append(f"versions {sorted(versions)}: {got[:2]} instead of {expected[:2]}")
        self.first_rows.append(answers[0]["prediction_id"])
        self.acknowledged += [
            Acknowledged(a["prediction_id"], a["model_version"], a["hybrid_score"], a["kept"], row)
            for row, a in zip(rows, answers, strict=True)
        ]
