"""PostgreSQL hangs instead of dying: the spool takes over within seconds, and what it kept arrives once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.faults.clients import in_database, in_spool
from tests.faults.conftest import Load
from tests.support.gateway import Gateway
from tests.support.servers import PostgresServer
from tests.support.sizes import few_or_full


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """As a host that swaps or whose disk has stopped: it takes connections and answers none."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def without_standby(server: PostgresServer) -> Iterator[None]:
    """Every COMMIT waits for a synchronous standby that is not there, which no statement_timeout ends."""
    server.configure("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
    try:
        yield
    finally:
        server.configure("ALTER SYSTEM RESET synchronous_standby_names")


@contextmanager
def locked(server: PostgresServer) -> Iterator[None]:
    """A migration or a VACUUM FULL holds the table: statements wait, and the server is well."""
    with psycopg.connect(server.url) as connection:
        connection.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize("hang", [frozen, without_standby, locked])
@pytest.mark.parametrize("hangs", few_or_full(1, 5))
def test_the_spool_takes_over_from_a_database_that_hangs(
    hang: Callable[[PostgresServer], "contextmanager[None]"],
    hangs: int,
    own_postgres_server: PostgresServer,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    with make_gateway(FRAUD_DATABASE_URL=own_postgres_server.url) as gateway:
        gateway.wait_for_version(1)
        with load.on(gateway) as clients:
            for _hang in range(hangs):
                clients.wait_for(100, in_database)
                with hang(own_postgres_server):
                    clients.wait_for(500, in_spool)
                    assert gateway.ready()["store"]["away"]
                clients.wait_for(100, in_database)
            gateway.wait_until(lambda: gateway.metric("fraud_store_spool_bytes") == 0)
        load.expect_kept(clients, hangs, own_postgres_server.url)
        load.expect_answers(clients)  # none waited for as long as it hung
