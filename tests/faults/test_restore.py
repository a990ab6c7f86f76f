"""An older backup takes the database's place: under load, which operators are told not to do, and in idle times."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.faults.clients import in_database
from tests.faults.conftest import Load
from tests.support.creditcard import TRANSACTION
from tests.support.gateway import Gateway
from tests.support.servers import PostgresServer


class Database:
    """A database of a server, which can be dumped, emptied and restored."""

    def __init__(self, server: PostgresServer, dump: Path) -> None:
        self._server, self._file = server, dump
        self.url = server.url.replace("/postgres?", "/decisions?")
        self._run("CREATE DATABASE decisions")

    def dump(self) -> None:
        self._server._run(self._server.program("pg_dump"), "-Fc", "-f", str(self._file), self.url)

    def empty(self) -> None:
        self._run("DROP DATABASE decisions WITH (FORCE)", "CREATE DATABASE decisions")

    def restore(self) -> None:
        """Under another name first, so that nothing writes to one that is half restored."""
        self._run("CREATE DATABASE restored")
        url = self.url.replace("/decisions?", "/restored?")
        self._server._run(self._server.program("pg_restore"), "-d", url, str(self._file))
        self._run("DROP DATABASE decisions WITH (FORCE)", "ALTER DATABASE restored RENAME TO decisions")

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.mark.slow
def test_an_older_backup_under_load(
    own_postgres_server: PostgresServer,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    """What was kept before the dump and after the restore is there; the gateway is never told."""
    # the server's user writes the dump, which pytest's folders keep out
    database = Database(own_postgres_server, own_postgres_server._data.with_name("dump"))
    with make_gateway(FRAUD_DATABASE_URL=database.url) as gateway:
        gateway.wait_for_version(1)
        with load.on(gateway) as clients:
            clients.wait_for(100, in_database)
            before = len(clients.acknowledged)
            database.dump()
            clients.wait_for(100, in_database)
            database.empty()
            clients.wait_for(100)
            database.restore()
            after = len(clients.acknowledged)
            clients.wait_for(100)
            gateway.wait_until(lambda: gateway.metric("fraud_store_away") == 0)
            clients.wait_for(100, in_database)
        gateway.wait_until(lambda: gateway.metric("fraud_store_spool_bytes") == 0)
        spared = clients.acknowledged[:before] + clients.acknowledged[after + 200 :]
        load.expect_kept(clients, 2, database.url, spared)
        load.expect_answers(clients)

        # and while the gateway is idle: the first request afterwards finds the connections gone
        kept = gateway.client.post("/predict", json=TRANSACTION | {"transaction_id": "before"}).json()
        database.dump()
        database.empty()
        database.restore()
        answer = gateway.client.post("/predict", json=TRANSACTION | {"transaction_id": "before"})
        assert answer.status_code == 200
        assert answer.json()["prediction_id"] == kept["prediction_id"]
        assert answer.json()["kept"] == "database"
    assert "Traceback" not in gateway.log.read_text()
