"""PostgreSQL stops and comes back under load: answers go on by way of the spool, and all of them arrive."""

from collections.abc import Callable
from typing import Any

import pytest

from stores.decisions import DecisionStore, open_engine
from tests.faults.clients import Clients, Transactions, in_database, in_spool
from tests.faults.conftest import Lost, Model
from tests.faults.figures import Figures
from tests.support.gateway import Gateway
from tests.support.sizes import few_or_full


@pytest.mark.parametrize("outages", few_or_full(1, 10))
def test_the_spool_takes_over_and_gives_back(
    outages: int,
    postgres_server: Any,
    postgres_database: str,
    model: Model,
    make_gateway: Callable[..., Gateway],
    transactions: Transactions,
    lost: Lost,
    figures: Figures,
) -> None:
    twice: list[tuple[str, str]] = []
    with make_gateway(FRAUD_DATABASE_URL=postgres_database) as gateway:
        gateway.wait_for_version(1)
        with Clients(gateway.port, transactions) as clients:
            for outage in range(outages):
                clients.wait_for(100, in_database)
                named = transactions.json(0) | {"transaction_id": f"sent-twice-{outage}"}
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
        missing = lost(postgres_database, clients.acknowledged)
        figures.take(clients, outages, len(missing))
        assert missing == []
        assert (clients.wrong, clients.refused, clients.unanswered) == ([], {}, [])
        assert gateway.metric("fraud_store_away") == 0
        engine = open_engine(postgres_database)
        found = DecisionStore(engine).find_all([again for _first, again in twice])
        engine.dispose()
        assert [(found[again].duplicate_of, again) for _first, again in twice] == twice
