"""Limits per key, or per address where no key is needed."""

import pytest
from pydantic import ValidationError

from ml_project.errors import InvalidInput
from serving.access import RateLimit
from serving.settings import GatewaySettings


def test_above_the_limit_it_is_429_with_the_time_to_wait(serve, source) -> None:
    with serve(source, rate_limit="2/hour") as running:
        assert [running.client.get("/features").status_code for _ in range(2)] == [200, 200]
        refused = running.client.get("/features")
        assert refused.status_code == 429
        assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
        assert refused.json()["title"] == "Too Many Requests"
        assert running.client.get("/health").status_code == 200


def test_no_limit_by_default(serve, source) -> None:
    with serve(source) as running:
        assert {running.client.get("/features").status_code for _ in range(50)} == {200}


@pytest.mark.anyio
async def test_every_name_has_its_own_window() -> None:
    limit = RateLimit("1/minute")
    assert await limit.wait("key:a") == 0
    assert 0 < await limit.wait("key:a") <= 60
    assert await limit.wait("key:b") == 0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_what_cannot_be_understood_is_refused() -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        GatewaySettings(rate_limit="many")
    with pytest.raises(InvalidInput, match="FRAUD_RATE_LIMIT_STORE"):
        RateLimit("1/minute", "nonsense://host")
