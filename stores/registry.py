"""The model registry: which version an alias names, its bundle, and how an alias is moved.

MLflow's own page writes aliases in lower case while its store compares them case-sensitively, so ``Production`` and
``production`` can both exist. Every look-up here goes without case; see `Registry.resolve` for such twins.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ml_project.errors import FraudError, Unavailable
from stores.files import take_place

PRODUCTION: Final = "Production"
CHALLENGER: Final = "Challenger"
PREVIOUS: Final = "Previous"

DIGEST_TAG: Final = "bundle.sha256"
BUNDLE_PATH: Final = "artifacts/bundle"
"""Where a bundle lies inside a logged pyfunc model."""

_MOVED_TAG: Final = "fraud.moved."
"""Registered-model tag, followed by an alias: the version that our own last move gave it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelVersion:
    """A version as the registry describes it."""

    version: int
    run_id: str
    digest: str | None
    tags: dict[str, str]


@contextmanager
def _translated(tracking_uri: str) -> Iterator[None]:
    """Turn whatever the client raises for an absent or unwilling server into one clear error."""
    try:
        yield
    except FraudError:
        raise
    except (MlflowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise Unavailable(
            f"The MLflow server at {tracking_uri} does not answer as it should: {reason}",
            "Check MLFLOW_TRACKING_URI and that the server runs.",
        ) from error


class Registry:
    """The registered model ``model_name`` on an MLflow tracking server.

    Every method raises `Unavailable` when the server cannot be reached.
    """

    def __init__(self, tracking_uri: str, model_name: str = "fraud-ensemble") -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def resolve(self, alias: str) -> ModelVersion | None:
        """The version that an alias names, without regard to case; None where nothing does.

        Where two aliases differ only in case, the one that differs from our own last move is somebody's newer move in
        MLflow's page, and is followed with a warning.
        """
        with _translated(self.tracking_uri):
            model = self._registered_model()
            if model is None:
                return None
            named = {name: int(version) for name, version in model.aliases.items() if name.lower() == alias.lower()}
            if not named:
                return None
            versions = set(named.values())
            if len(versions) > 1:
                moved = model.tags.get(_MOVED_TAG + alias)
                newer = {version for version in versions if str(version) != moved} or versions
                _log.warning("aliases %s differ only in case; following version %s", sorted(named), max(newer))
                versions = newer
            return self.version(max(versions))

    def version(self, number: int) -> ModelVersion:
        """One version by its number."""
        with _translated(self.tracking_uri):
            return _described(self._client.get_model_version(self.model_name, str(number)))

    def find(self, run_id: str) -> ModelVersion | None:
        """The newest version that a run registered."""
        with _translated(self.tracking_uri):
            found = self._client.search_model_versions(f"name = '{self.model_name}' and run_id = '{run_id}'")
            return max(map(_described, found), key=lambda v: v.version, default=None)

    def register(self, model_uri: str, run_id: str, tags: dict[str, str], description: str) -> ModelVersion:
        """A new version of a logged model; the registered model is made when it does not exist."""
        with _translated(self.tracking_uri):
            if self._registered_model() is None:
                self._client.create_registered_model(
                    self.model_name, description="Card-fraud ensemble: isolation forest and XGBoost as ONNX."
                )
            created = self._client.create_model_version(
                self.model_name,
                source=model_uri,
                run_id=run_id,
                tags=tags,
                description=description,
                model_id=model_uri.rsplit("/", 1)[-1],
            )
            return _described(created)

    def tag(self, number: int, key: str, value: str) -> None:
        """Set a tag of a version."""
        with _translated(self.tracking_uri):
            self._client.set_model_version_tag(self.model_name, str(number), key, value)

    def move(self, alias: str, number: int) -> None:
        """Point an alias at a version, and fold spellings that differ only in case into this one."""
        with _translated(self.tracking_uri):
            self._client.set_registered_model_tag(self.model_name, _MOVED_TAG + alias, str(number))
            self._client.set_registered_model_alias(self.model_name, alias, str(number))
            model = self._registered_model()
            for other in model.aliases if model else {}:
                if other != alias and other.lower() == alias.lower():
                    self._client.delete_registered_model_alias(self.model_name, other)

    def download_bundle(self, number: int, folder: Path) -> None:
        """Fetch a version's bundle into a folder, which must not exist yet; it appears whole or not at all."""
        from mlflow.artifacts import download_artifacts

        folder.parent.mkdir(parents=True, exist_ok=True)
        with _translated(self.tracking_uri), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            # Not "models:/name/version": MLflow resolves that by the process's global registry, whatever it is told.
            model = self._client.get_model_version_download_uri(self.model_name, str(number))
            path = download_artifacts(
                artifact_uri=f"{model.rstrip('/')}/{BUNDLE_PATH}", dst_path=scratch, tracking_uri=self.tracking_uri
            )
            take_place(Path(path), folder)

    def _registered_model(self) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def _described(version: MlflowVersion) -> ModelVersion:
    return ModelVersion(int(version.version), version.run_id or "", version.tags.get(DIGEST_TAG), dict(version.tags))
