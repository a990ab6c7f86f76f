"""Gateway and pipelines, started from one environment, mean the same places."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import PipelineSettings
from tests.support.commands import Commands
from tests.support.creditcard import LABEL
from tests.support.gateway import Gateway
from tests.support.mlflow import MlflowServer
from tests.support.pipelines import transactions
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow

NOWHERE = "http://127.0.0.1:9"


class SameGateway(Gateway):
    """The harness's gateway with nothing set but the environment under test."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder)
        for name in ("FRAUD_STATE_DIR", "FRAUD_RELEASES_URI"):
            self._environment.pop(name)
        self._environment.update(environment)


@pytest.fixture
def environment(request: pytest.FixtureRequest, own_settings: PipelineSettings, tmp_path: Path) -> dict[str, str]:
    state = {"FRAUD_STATE_DIR": str(own_settings.state_dir)}
    if request.param == "a state folder":
        return state
    if request.param == "places of their own":
        (tmp_path / "releases").rename(tmp_path / "elsewhere")
        return state | {
            "FRAUD_RELEASES_URI": str(tmp_path / "elsewhere"),
            "FRAUD_DATABASE_URL": f"sqlite:///{tmp_path}/kept.db",
        }
    server = request.getfixturevalue("server")
    return state | {"FRAUD_TRACKING_URI": server.url, "MLFLOW_TRACKING_URI": NOWHERE}


@pytest.fixture
def server(own_settings: PipelineSettings, tmp_path: Path) -> Any:
    """An MLflow server on the registry of `own_settings`."""
    folder = tmp_path / "server"
    folder.mkdir()
    with MlflowServer(folder, own_settings.mlflow_database) as running:
        running.wait_until_up()
        yield running


@pytest.mark.parametrize(
    "environment", ["a state folder", "places of their own", "both addresses of MLflow"], indirect=True
)
def test_one_environment_means_the_same_places(environment: dict[str, str], commands: Commands, tmp_path: Path) -> None:
    given = clean_environment(**environment)
    history = commands.run("history", "--json", environment=given)
    assert history.returncode == 0, history.stderr
    [move] = json.loads(history.stdout)["moves"]
    folder = tmp_path / "log"
    folder.mkdir()
    transaction = transactions(1, seed=2).drop(columns=LABEL).iloc[0].to_dict()
    with SameGateway(folder, environment) as gateway:
        gateway.wait_for_version(move["to"])  # the release or the registry that the pipelines wrote
        gateway.client.post("/predict", json=transaction).raise_for_status()
        gateway.end(60)
    monitored = commands.run("monitor", "--window", "1h", environment=given | {"FRAUD_EVIDENTLY": "false"})
    assert monitored.returncode == 0, monitored  # 2 without the database that the gateway wrote
    assert f"version {move['to']}, " in monitored.stdout
