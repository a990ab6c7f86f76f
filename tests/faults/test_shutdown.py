"""SIGTERM under load: what has begun is finished, and what was acknowledged is kept."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.faults.conftest import Load, Model, lost
from tests.support.gateway import KEY, Gateway
from tests.support.sizes import few_or_full

IN_PROGRESS = 5_000


class SlowRequest(threading.Thread):
    """A batch of which one half is sent now, the other when it is let go."""

    def __init__(self, gateway: Gateway, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self._url, self._body = f"{gateway.url}/predict-batch", json.dumps(rows).encode()
        self.half_sent, self.go_on = threading.Event(), threading.Event()
        self.answer: httpx.Response | None = None

    def run(self) -> None:
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        self.answer = httpx.post(self._url, content=self._parts(), headers=headers, timeout=60)

    def _parts(self) -> Iterator[bytes]:
        middle = len(self._body) // 2
        yield self._body[:middle]
        self.half_sent.set()
        self.go_on.wait(60)
        yield self._body[middle:]


@pytest.mark.parametrize("ends", few_or_full(1, 10))
def test_requests_in_progress_are_finished_and_kept(
    ends: int,
    database_url: str,
    model: Model,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    rows = [load.transactions.json(row % len(load.transactions.raw)) for row in range(IN_PROGRESS)]
    with make_gateway(FRAUD_DATABASE_URL=database_url) as gateway:
        gateway.kill()
        model.publish(1, gateway.releases)
        for _end in range(ends):
            gateway.start()
            gateway.wait_for_version(1)
            with load.on(gateway) as clients:
                clients.wait_for(200)
                slow = SlowRequest(gateway, rows)
                slow.start()
                assert slow.half_sent.wait(60)
                # Connections are accepted in order: when a younger one is answered, this one has begun.
                assert httpx.get(f"{gateway.url}/health").status_code == 200
                threading.Timer(1.0, slow.go_on.set).start()
                assert gateway.end(60) == 0
                slow.join()
            assert slow.answer is not None
            assert slow.answer.status_code == 200
            begun = [(answer["prediction_id"], answer["hybrid_score"]) for answer in slow.answer.json()]
            assert len(begun) == IN_PROGRESS
            load.expect_kept(clients, 1, database_url)
            assert (clients.wrong, clients.refused) == ([], {})
            # Connections may be closed between two requests, or before one was read, but never within an answer.
            assert not any("IncompleteRead" in error or "timed out" in error for error in clients.unanswered)
            kept = [clients.acknowledged[0]._replace(prediction_id=name, hybrid_score=score) for name, score in begun]
            assert lost(database_url, kept) == []
