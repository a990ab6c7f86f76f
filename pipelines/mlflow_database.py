"""The SQLite file that stands in for an MLflow server."""

import os
from pathlib import Path

from mlflow.tracking import MlflowClient


def create_database(path: Path) -> None:
    """Make MLflow's tables in a new SQLite file, whole or not at all: cut off in the middle, they can never be used."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
