"""MLflow's server and the gateway as processes."""

import sys
from pathlib import Path

from pipelines.processes import Service
from pipelines.settings import PipelineSettings
from pipelines.up.stores import Stores
from stores.objects import is_s3

HOST = "127.0.0.1"


def mlflow(state: Path, stores: Stores, port: int) -> Service:
    """MLflow's server. Addresses of its stores, which may hold passwords, stand in its environment only."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # the job runner costs 2 GB and serves features that nothing here uses
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **stores.mlflow_client}
    return Service("MLflow", [*command, *stores.mlflow_arguments], environment, state / "logs" / "mlflow.log")


def gateway(state: Path, settings: PipelineSettings, mlflow_url: str, port: int) -> Service:
    """The gateway."""
    releases = settings.releases
    environment = {
        "MLFLOW_TRACKING_URI": mlflow_url,
        "FRAUD_STATE_DIR": str(state / "gateway"),
        "FRAUD_RELEASES_URI": releases if is_s3(releases) else str(Path(releases).resolve()),
        "FRAUD_S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "FRAUD_MODEL_NAME": settings.model_name,
        "FRAUD_HOST": HOST,
        "FRAUD_PORT": str(port),
    }
    return Service("gateway", [sys.executable, "-m", "serving"], environment, state / "logs" / "gateway.log")
