"""MLflow's tracking server as a process."""

import shutil
import sys
from pathlib import Path

from pipelines.up.servers import ServerSecrets, credentials
from tests.support.processes import Forked, Server, free_port


class MlflowServer(Server):
    """Serves what `make run` serves: SQLite, artifacts in a folder behind the server.

    It is forked (`Forked`), as what `mlflow server` itself starts: MLflow's application under uvicorn. That command
    imports MLflow twice, which takes ten seconds; `tests/integration/test_up.py` and `test_servers.py` run it.

    Parameters
    ----------
    folder : Path
        For its database, artifacts and log.
    database : Path, optional
        A file with MLflow's tables to begin with: making them takes two seconds.
    **environment
        Further variables.
    """

    def __init__(self, folder: Path, database: Path | None = None, **environment: str) -> None:
        port = free_port()
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir()
        own = folder / "mlflow.db"
        if database is not None:
            shutil.copy(database, own)
        command = ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        settings = {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{own}",
            "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{own}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.artifacts),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        log = folder / "mlflow.log"
        super().__init__([*command, "mlflow.server.fastapi_app:app"], settings | environment, log, port)

    def _begun(self) -> Forked:
        return Forked(self._command, self._environment, self.log)

    def wait_until_up(self) -> None:
        self.wait_until(lambda: self.client.get("/health").status_code == 200)


class LockedMlflow(Server):
    """As `make run BACKEND=servers` starts one, but on SQLite: `mlflow server` with users, and Production locked."""

    def __init__(self, folder: Path, **environment: str) -> None:
        port = free_port()
        self.secrets = ServerSecrets()
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--app-name", "basic-auth"]
        stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        stores += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        users = self.secrets.mlflow_environment(folder, f"sqlite:///{folder / 'users.db'}")
        super().__init__([*command, *stores], {**quiet, **users, **environment}, folder / "mlflow.log", port)

    def wait_until_up(self) -> None:
        self.wait_until(lambda: self.client.get("/health").status_code == 200, seconds=600)

    def credentials(self, user: str) -> tuple[str, str]:
        """Name and password of admin, promotion, scientist or gateway."""
        passwords = dict(self.secrets.users.values())
        return user, passwords.get(user, self.secrets.mlflow_password)

    def environment(self, user: str) -> dict[str, str]:
        """Of a process that works in a user's name."""
        return {"MLFLOW_TRACKING_URI": self.url, **credentials(*self.credentials(user))}
