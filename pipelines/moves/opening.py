"""The mover that the settings describe, and in whose name it moves."""

import getpass
from dataclasses import dataclass

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

import ml_project
from ml_project.errors import InvalidInput
from pipelines.mlflow_database import create_database
from pipelines.moves.mover import Mover
from pipelines.settings import PipelineSettings
from stores.history import History
from stores.registry import Registry
from stores.releases import Releases, open_releases


@dataclass(frozen=True)
class Stores:
    """Where moves are made and kept."""

    registry: Registry
    history: History
    releases: Releases


def open_stores(settings: PipelineSettings) -> Stores:
    """Registry, history and releases of the settings."""
    if not settings.tracking_uri:
        create_database(settings.mlflow_database)
    uri, model = settings.mlflow_uri, settings.model_name
    return Stores(Registry(uri, model), History(uri, model), open_releases(settings.releases, settings.s3_endpoint_url))


def open_mover(settings: PipelineSettings) -> Mover:
    """A mover on these stores."""
    stores = open_stores(settings)
    return Mover(stores.registry, stores.history, stores.releases, user_name(settings), tool_version())


def user_name(settings: PipelineSettings) -> str:
    """Who moves, for the history.

    Raises
    ------
    InvalidInput
        When neither the setting nor the operating system knows a name.
    """
    if settings.user:
        return settings.user
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container whose user has no name
        raise InvalidInput("The operating system has no name for this user.", "Set FRAUD_USER.") from error


def tool_version() -> str:
    """Version of this software and, in a git checkout, its commit."""
    commit = resolve_tags().get(MLFLOW_GIT_COMMIT, "")
    return f"{ml_project.__version__}+{commit[:8]}" if commit else ml_project.__version__
