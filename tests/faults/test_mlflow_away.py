"""The MLflow server hangs, dies and comes back: answers go on, and a restart needs it as little."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Load, Model
from tests.support.gateway import Gateway
from tests.support.mlflow import MlflowServer
from tests.support.sizes import few_or_full


@contextmanager
def hanging(server: MlflowServer) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def killed(server: MlflowServer) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()
        server.wait_until_up()


@pytest.mark.parametrize("outage", [hanging, killed])
@pytest.mark.parametrize("outages", few_or_full(1, 5))
def test_answers_go_on_and_a_later_promotion_is_followed(
    outages: int,
    outage: Callable[[MlflowServer], Iterator[None]],
    mlflow_server: MlflowServer,
    model: Model,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    with make_gateway() as gateway:
        gateway.wait_for_version(1)
        live = 1
        with load.on(gateway) as clients:
            for _outage in range(outages):
                with outage(mlflow_server):
                    gateway.wait_until(lambda: "does not answer" in str(gateway.ready()["trouble"]))
                    clients.wait_for(200)
                    assert gateway.ready()["model_version"] == str(live)
                live = live % 3 + 1
                model.promote(live)
                gateway.wait_for_version(live)
                gateway.wait_until(lambda: gateway.ready()["trouble"] is None)
        load.expect_answers(clients, outages)
        assert gateway.ready()["named_by"] == "registry"


@pytest.mark.slow
@pytest.mark.parametrize("files", ["of the release", "of the cache"])
def test_a_restart_without_mlflow_says_what_it_goes_by(
    files: str,
    mlflow_server: MlflowServer,
    model: Model,
    make_gateway: Callable[..., Gateway],
    load: Load,
) -> None:
    with make_gateway() as gateway:
        gateway.wait_for_version(1)
        model.publish(1, gateway.releases)
        with killed(mlflow_server):
            assert gateway.end(60) == 0
            shutil.rmtree(
                gateway.state / "gateway" / "bundles" if files == "of the release" else gateway.releases / "bundles"
            )
            gateway.start()
            gateway.wait_for_version(1)
            assert gateway.ready()["named_by"] == "release pointer"
            with load.on(gateway) as clients:
                clients.wait_for(200)
        model.promote(2)
        gateway.wait_for_version(2)
        assert gateway.ready()["named_by"] == "registry"
        load.expect_answers(clients, 1)
