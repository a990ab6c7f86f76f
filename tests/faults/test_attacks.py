"""One client that attacks does not stop the others: they get their answers, and wait for them not much longer."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pytest

from ml_project.bundle import Bundle
from stores.releases import open_releases
from tests.faults.attacks import ATTACKS
from tests.faults.clients import Clients, Transactions
from tests.faults.figures import FIGURES, Figures
from tests.support.gateway import Gateway
from tests.support.processes import Forked, clean_environment
from tests.support.sizes import few_or_full

PAUSE_SECONDS = 0.2
"""Between two requests of an ordinary client: 16 of them ask some 70 times a second."""

QUIET_SECONDS = 10.0

SLOWER = 10
"""How much longer the slowest hundredth of the answers may take than without an attack."""

MOST_MEGABYTES = 1_000


@pytest.fixture(scope="module")
def gateway(bundles: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With its default limits and few descriptors."""
    folder = tmp_path_factory.mktemp("attacked")
    settings = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "FRAUD_WEBHOOK_SECRET": "w" * 40}
    running = Gateway(folder, **settings)
    running.releases.mkdir()
    open_releases(str(running.releases)).publish(bundles[0], "fraud-ensemble", 1, {"passed": True}, datetime.now(UTC))
    with running:
        few_descriptors(running)
        running.wait_for_version(1)
        yield running


def few_descriptors(gateway: Gateway) -> None:
    """As many as a login shell has; to be called while the gateway is still importing."""
    psutil.Process(gateway.process.pid).rlimit(psutil.RLIMIT_NOFILE, (1_024, 1_024))


@pytest.mark.slow
def test_a_start_amid_idle_connections_finds_the_registry(make_gateway: Callable[..., Gateway]) -> None:
    """What MLflow imports meanwhile needs descriptors, and an import that failed would not be tried again."""
    starting = make_gateway(as_program=True)
    with attacked("idle connections", starting.port), starting:
        few_descriptors(starting)
        starting.wait_for_version(1)
        assert starting.ready()["named_by"] == "registry"


class Watched:
    """Ordinary clients for some seconds, and the gateway's memory meanwhile."""

    def __init__(self, gateway: Gateway, transactions: Transactions, seconds: float) -> None:
        process, ended = psutil.Process(gateway.process.pid), threading.Event()
        self.megabytes = 0.0
        with Clients(gateway.port, transactions, PAUSE_SECONDS) as self.clients:
            threading.Timer(seconds, ended.set).start()
            while not ended.wait(0.1):
                self.megabytes = max(self.megabytes, process.memory_info().rss / 2**20)

    @property
    def p99(self) -> float:
        """Seconds."""
        return float(np.quantile(self.clients.seconds, 0.99))


@pytest.fixture(scope="module")
def quiet(gateway: Gateway, transactions: Transactions, request: pytest.FixtureRequest) -> float:
    """The 99th percentile of the latency without an attack, in seconds."""
    seen = Watched(gateway, transactions, QUIET_SECONDS)
    assert (seen.clients.wrong, seen.clients.refused, seen.clients.unanswered) == ([], {}, [])
    row = Figures("quiet", requests=seen.clients.requests, p99_ms=1000 * seen.p99, megabytes=seen.megabytes)
    request.config.stash.setdefault(FIGURES, []).append(row)
    return seen.p99


@contextlib.contextmanager
def attacked(name: str, port: int) -> Iterator[None]:
    with tempfile.NamedTemporaryFile() as log:
        process = Forked(["tests.faults.attacks", name, str(port)], clean_environment(), Path(log.name))
        try:
            while log.read() != b"begun\n":
                assert process.poll() is None, "the attack did not begin"
                log.seek(0)
                time.sleep(0.01)
            yield
            assert process.poll() is None, "the attack has ended by itself"
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("seconds", few_or_full(1, 30))
@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_answered_meanwhile(
    name: str,
    seconds: float,
    gateway: Gateway,
    transactions: Transactions,
    figures: Figures,
    request: pytest.FixtureRequest,
) -> None:
    # a few answers have no hundredth
    quiet = request.getfixturevalue("quiet") if seconds >= 30 else np.inf
    with attacked(name, gateway.port):
        seen = Watched(gateway, transactions, seconds)
    clients = seen.clients
    figures.take(clients, 1)
    figures.p99_ms, figures.megabytes = 1000 * seen.p99, seen.megabytes
    assert (clients.wrong, clients.refused, clients.unanswered) == ([], {}, [])
    assert seen.megabytes < MOST_MEGABYTES
    assert seen.p99 <= SLOWER * quiet
