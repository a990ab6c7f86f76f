"""A real MLflow server tells a real gateway of two workers that Production was set."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import InvalidInput
from stores.registry import BUNDLE_PATH, DIGEST_TAG
from stores.webhooks import Delivery, Webhooks
from tests.support.mlflow import MlflowServer
from tests.unit.serving.processes import Process

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-at-least-32-characters"
MODEL = "fraud-ensemble"


@pytest.fixture
def mlflow_url(tmp_path: Path, empty_mlflow_database: Path) -> Iterator[str]:
    """A server that may call addresses of this machine; in a bank's network it needs the second of these too."""
    allowed = {
        # the server remembers for so many seconds which webhooks there are
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    }
    with MlflowServer(tmp_path, empty_mlflow_database, **allowed) as server:
        server.wait_until_up()
        yield server.url


def test_a_promotion_in_mlflow_reaches_all_workers_at_once(mlflow_url, tmp_path, make_scorer) -> None:
    client = MlflowClient(mlflow_url, mlflow_url)
    client.create_registered_model(MODEL)
    experiment = client.create_experiment(MODEL)  # the copied database's own one has its artifacts elsewhere

    def register(alert: float) -> str:
        bundle = make_scorer(alert=alert).bundle
        run = client.create_run(experiment)
        bundle.write(tmp_path / run.info.run_id)
        client.log_artifacts(run.info.run_id, str(tmp_path / run.info.run_id), f"model/{BUNDLE_PATH}")
        source, tags = f"{run.info.artifact_uri}/model", {DIGEST_TAG: bundle.digest}
        return str(client.create_model_version(MODEL, source, run_id=run.info.run_id, tags=tags).version)

    versions = register(0.4), register(0.6)
    client.set_registered_model_alias(MODEL, "Production", versions[0])
    gateway = Process(
        tmp_path,
        *("--workers", "2"),
        MLFLOW_TRACKING_URI=mlflow_url,
        FRAUD_WEBHOOK_SECRET=SECRET,
        FRAUD_POLL_SECONDS="3600",
    )

    def answering(version: str) -> bool:
        text = gateway.client.get("/metrics").text
        return any(line.startswith("fraud_model_info") and f'"{version}"' in line and line.endswith(" 2.0")
                   for line in text.splitlines())  # fmt: skip

    try:
        gateway.wait_until(lambda: answering(versions[0]), 90)
        webhooks = Webhooks(mlflow_url)
        webhooks.add("gateway", f"http://127.0.0.1:{gateway.port}", SECRET)
        with pytest.raises(InvalidInput, match="already"):
            webhooks.add("gateway", "http://elsewhere", SECRET)
        assert webhooks.test("gateway") == Delivery(True, 202, '{"outcome":"ignored"}')
        client.set_registered_model_alias(MODEL, "production", versions[1])
        gateway.wait_until(lambda: answering(versions[1]), 60)
        assert "Registry webhook received" in gateway.output.read_text()
        webhooks.remove("gateway")
        assert webhooks.list() == []
        with pytest.raises(InvalidInput, match="There are: none"):
            webhooks.test("gateway")
        assert gateway.stop() == 0
    finally:
        gateway.end()
