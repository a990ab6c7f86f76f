"""MLflow's tracking server as a process."""

import sys
from pathlib import Path

from tests.support.processes import Server, free_port


class MlflowServer(Server):
    """As `make run` starts one: SQLite, artifacts in a folder behind the server."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        stores += ["--artifacts-destination", str(self.artifacts), "--workers", "1"]
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        super().__init__([*command, *stores], environment, folder / "mlflow.log", port)

    def wait_until_up(self) -> None:
        self.wait_until(lambda: self.client.get("/health").status_code == 200)
