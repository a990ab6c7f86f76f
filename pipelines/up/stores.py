"""What MLflow and the gateway keep things in: files under the state folder, unless servers were started."""

from dataclasses import dataclass, field

from pipelines.processes import Service
from pipelines.settings import PipelineSettings
from pipelines.tracking import create_database


@dataclass(frozen=True)
class Stores:
    """Stores that are ready for use.

    Attributes
    ----------
    mlflow_arguments, mlflow_environment
        For MLflow's server alone.
    environment
        For this process and all that it starts.
    settings
        Fields of `PipelineSettings`.
    services
        Servers to watch.
    notes
        For people, at the end.
    """

    mlflow_environment: dict[str, str]
    mlflow_arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    notes: tuple[str, ...] = ()


def embedded(settings: PipelineSettings) -> Stores:
    """SQLite and folders."""
    create_database(settings.mlflow_database)
    artifacts = settings.state_dir.resolve() / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    return Stores(
        {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{settings.mlflow_database}",
            "MLFLOW_ARTIFACTS_DESTINATION": str(artifacts),
        }
    )
