"""How MLflow's client behaves here. A module without MLflow: it reads some of these while it is being imported."""

import os

# Its own defaults retry an absent server for minutes. Twice six seconds are told before a gateway looks again; a
# pipeline has tried the server once before it begins, and shall survive a restart and a slow upload after that.
_QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "6", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"}
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}


def quiet_mlflow(*, patient: bool = False) -> None:
    """Make MLflow's client quiet, private and, unless ``patient``, quick to give up.

    Called where a process is put together, before MLflow is imported. Values that are set already are kept.
    """
    for name, value in {**_DEFAULTS, **(_PATIENT if patient else _QUICK)}.items():
        os.environ.setdefault(name, value)
