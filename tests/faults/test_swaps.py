"""Versions change under load, and nobody notices but by the version's number."""

import itertools
from collections.abc import Callable

import pytest

from tests.faults.conftest import Load, Model
from tests.support.gateway import Gateway
from tests.support.sizes import few_or_full


@pytest.mark.parametrize("swaps", few_or_full(8, 100))
def test_no_swap_fails_or_mixes_an_answer(
    swaps: int, model: Model, make_gateway: Callable[..., Gateway], load: Load
) -> None:
    with make_gateway() as gateway:
        gateway.wait_for_version(1)
        with load.on(gateway) as clients:
            for version in itertools.islice(itertools.cycle((2, 3, 1)), swaps):
                model.promote(version)
                gateway.wait_for_version(version)
                clients.wait_for(20, lambda one, version=version: one.model_version == str(version))
        load.expect_answers(clients, swaps)
        assert {one.model_version for one in clients.acknowledged} == {"1", "2", "3"}
        assert gateway.metric('fraud_model_swaps_total{outcome="live"}') == swaps + 1
        assert gateway.ready()["trouble"] is None
