"""MLflow's server and the gateway as processes, and the backend that they keep their data in."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.processes import Service
from pipelines.settings import PipelineSettings
from pipelines.tracking import create_database
from stores.objects import is_s3

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Backend:
    """Storage that is ready for use.

    Attributes
    ----------
    mlflow_arguments, mlflow_environment
        For MLflow's server only.
    environment
        For this process and those it starts.
    gateway_environment
        For the gateway only.
    prepare
        Called with MLflow's address once it runs, before anything asks it.
    settings
        Fields of `PipelineSettings`.
    services
        Servers to watch.
    notes
        Lines to print at the end.
    """

    mlflow_environment: dict[str, str]
    mlflow_arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    gateway_environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[str, PipelineSettings], None] = lambda _url, _settings: None
    settings: dict[str, object] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    notes: tuple[str, ...] = ()


def embedded_backend(settings: PipelineSettings) -> Backend:
    """SQLite and folders below the state folder."""
    create_database(settings.mlflow_database)
    artifacts = settings.state_dir.resolve() / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    return Backend(
        {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{settings.mlflow_database}",
            "MLFLOW_ARTIFACTS_DESTINATION": str(artifacts),
        }
    )


def mlflow_service(state: Path, backend: Backend, port: int) -> Service:
    """MLflow's server. Addresses of its stores may hold passwords and are in its environment only."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # the job runner costs 2 GB and serves features that nothing here uses
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **backend.mlflow_environment}
    return Service("MLflow", [*command, *backend.mlflow_arguments], environment, state / "logs" / "mlflow.log")


def gateway_service(state: Path, backend: Backend, settings: PipelineSettings, mlflow_url: str, port: int) -> Service:
    """The gateway, as ``python -m serving``."""
    releases = settings.releases
    environment = {
        "FRAUD_TRACKING_URI": mlflow_url,
        "FRAUD_STATE_DIR": str(state),
        "FRAUD_RELEASES_URI": releases if is_s3(releases) else str(Path(releases).resolve()),
        "FRAUD_S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "FRAUD_MODEL_NAME": settings.model_name,
        "FRAUD_MLFLOW_PAGE": settings.mlflow_page or mlflow_url,
        "FRAUD_HOST": HOST,
        "FRAUD_PORT": str(port),
        **backend.gateway_environment,
    }
    return Service("gateway", [sys.executable, "-m", "serving"], environment, state / "logs" / "gateway.log")
