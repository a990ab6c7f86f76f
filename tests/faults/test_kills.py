"""Kill -9 under load: whatever was acknowledged is kept."""

from collections.abc import Callable

import pytest

from tests.faults.clients import Clients, Transactions
from tests.faults.conftest import Lost, Model, few_or_full
from tests.faults.figures import Figures
from tests.support.gateway import Gateway


@pytest.mark.parametrize("kills", few_or_full(3, 20))
def test_nothing_acknowledged_is_lost(
    kills: int,
    database_url: str,
    model: Model,
    make_gateway: Callable[..., Gateway],
    transactions: Transactions,
    lost: Lost,
    figures: Figures,
) -> None:
    with make_gateway(FRAUD_DATABASE_URL=database_url) as gateway:
        model.publish(1, gateway.releases)
        gateway.wait_for_version(1)
        with Clients(gateway.port, transactions) as clients:
            for _kill in range(kills):
                clients.wait_for(500)
                gateway.kill()
                gateway.start()
                gateway.wait_for_version(1)
            clients.wait_for(100)
        missing = lost(database_url, clients.acknowledged)
        figures.take(clients, kills, len(missing))
        assert missing == []
        assert clients.wrong == []
        # 503: the process is there, its model not yet.
        assert set(clients.refused) <= {503}
        assert {one.kept for one in clients.acknowledged} == {"database"}
        # Every single one, and of every batch its first row.
        found = [gateway.client.get(f"/predictions/{name}").status_code for name in clients.first_rows]
        assert found == [200] * len(found)
