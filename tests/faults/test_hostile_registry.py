"""Something else answers for MLflow: the gateway goes by the release pointer, says why, and ends when it is told to."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from stores.releases import open_releases
from tests.faults.fuzzing import MOST_BYTES, peak_memory
from tests.support.creditcard import TRANSACTION
from tests.support.gateway import Gateway
from tests.support.hostile_server import BEHAVIOURS, hostile_server

SAID = {
    "dribbled head": "takes too long",
    "dribbled body": "takes too long",
    "endless": "is too large",
    "html": "valid JSON",
    "list": "as it should",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_answers_go_on_and_sigterm_ends_it(name: str, bundles: list[Bundle], tmp_path: Path) -> None:
    with hostile_server(BEHAVIOURS[name]) as url:
        gateway = Gateway(tmp_path, FRAUD_TRACKING_URI=url, FRAUD_ANSWER_SECONDS="1")
        open_releases(str(gateway.releases)).publish(
            bundles[0], "fraud-ensemble", 1, {"passed": True}, datetime.now(UTC)
        )
        with gateway:
            gateway.wait_for_version(1)
            gateway.wait_until(lambda: SAID[name] in str(gateway.ready()["trouble"]))
            assert gateway.client.post("/predict", json=TRANSACTION).json()["model_version"] == "1"
            history = gateway.client.get("/model/history", timeout=60)
            assert (history.status_code, history.json()["source"]) == (200, "release pointer")
            assert peak_memory(gateway.process.pid) < MOST_BYTES
            assert gateway.end(60) == 0
        assert "Traceback" not in gateway.log.read_text()
