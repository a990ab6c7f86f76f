"""PostgreSQL stops and comes back under load: answers go on by way of the spool, and all of them arrive."""

from collections.abc import Callable
from typing import Any

import pytest

from stores.decisions import DecisionStore, open_engine
from tests.faults.clients import in_database, in_spool
from tests.faults.conftest import Load
from tests.support.gateway import Gateway
from tests.support.sizes import few_or_full


@pytest.mark.parametrize("outages", few_or_full(1, 10))
def test_the_spool_takes_over_and_gives_back(
    outages: int,
    postgres_server: Any,
    postgres_database: str,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    twice: list[tuple[str, str]] = []
    with make_gateway(FRAUD_DATABASE_URL=postgres_database) as gateway:
        gateway.wait_for_version(1)
        with load.on(gateway) as clients:
            for outage in range(outages):
                clients.wait_for(100, in_database)
                named = load.transactions.json(0) | {"transaction_id": f"sent-twice-{outage}"}
                first = gateway.client.post("/predict", json=named).json()
                assert first["kept"] == "database"
                postgres_server.stop("immediate")
                try:
                    clients.wait_for(500, in_spool)
                    assert gateway.metric("fraud_store_away") == 1
                    again = gateway.client.post("/predict", json=named).json()
                    assert again["kept"] == "spool"
                finally:
                    postgres_server.start()
                twice.append((first["prediction_id"], again["prediction_id"]))
                clients.wait_for(100, in_database)
            gateway.wait_until(lambda: gateway.metric("fraud_store_spool_bytes") == 0)
        load.expect_kept(clients, outages, postgres_database)
        load.expect_answers(clients)
        assert gateway.metric("fraud_store_away") == 0
        engine = open_engine(postgres_database)
        found = DecisionStore(engine).find_all([again for _first, again in twice])
        engine.dispose()
        assert [(found[again].duplicate_of, again) for _first, again in twice] == twice
