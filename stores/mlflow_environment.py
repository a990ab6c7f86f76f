"""How MLflow's client behaves here. A module without MLflow: it reads some of these while it is being imported."""

import os

_DEFAULTS = {
    # its own defaults retry an absent server for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}


def quiet_mlflow() -> None:
    """Make MLflow's client quiet, private and quick to give up.

    Called where a process is put together, before MLflow is imported. Values that are set already are kept.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
