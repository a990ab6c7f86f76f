"""Kill -9 under load: whatever was acknowledged is kept, once, however many processes keep it."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from sqlalchemy import func, select

from stores.decisions import open_engine
from stores.decisions.schema import predictions
from tests.faults.clients import Repeats
from tests.faults.conftest import Load, Model
from tests.support.gateway import Gateway
from tests.support.sizes import few_or_full


def kept_twice(url: str) -> list[str]:
    """Transactions that the database holds more than one prediction of."""
    engine = open_engine(url)
    name = predictions.c.transaction_id
    with engine.connect() as connection:
        found = connection.scalars(select(name).where(name.is_not(None)).group_by(name).having(func.count() > 1)).all()
    engine.dispose()
    return [str(each) for each in found]


@pytest.mark.parametrize("layout", ["one process", "two workers", "two gateways"])
@pytest.mark.parametrize("kills", few_or_full(1, 34))
def test_nothing_acknowledged_is_lost_or_doubled(
    layout: str,
    kills: int,
    database_url: str,
    model: Model,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    settings = {"FRAUD_DATABASE_URL": database_url, "FRAUD_WORKERS": "2" if layout == "two workers" else "1"}
    gateways = [make_gateway(**settings) for _ in range(2 if layout == "two gateways" else 1)]
    model.publish(1, gateways[0].releases)
    with ExitStack() as stack:
        for gateway in gateways:
            stack.enter_context(gateway).wait_for_version(1)
        repeats = stack.enter_context(Repeats([each.port for each in gateways], load.transactions))
        with load.on(gateways[0]) as clients:
            for number in range(kills):
                clients.wait_for(300)
                if layout == "two workers" and number % 2 == 0:
                    gateways[0].kill_a_worker()
                else:
                    gateways[number % len(gateways)].kill_and_restart()
            clients.wait_for(100)
        repeats.wait_for_one_more()
    load.expect_kept(clients, kills, database_url)
    assert clients.wrong == []
    # 503: the process is there, its model not yet.
    assert set(clients.refused) <= {503}
    assert {one.kept for one in clients.acknowledged} == {"database"}
    assert repeats.told_differently() == {}
    assert kept_twice(database_url) == []
