"""The model registry: registers versions, finds which one an alias names and its bundle, and moves aliases.

MLflow's own page writes aliases in lower case while its store compares them case-sensitively, so ``Production`` and
``production`` can both exist. Every look-up here goes without case; see `stores.moves.followed` for such twins.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from ml_project.bundle import FILES, Bundle, read_bundle
from ml_project.card import Card
from ml_project.errors import InvalidBundle, InvalidInput, Unavailable
from stores.files import take_place
from stores.mlflow_client import NOT_FOUND, open_client, translated
from stores.moves import ALIASES, CHALLENGER, MOVED_TAG, PREVIOUS, PRODUCTION, followed, spellings

__all__ = ["CHALLENGER", "PREVIOUS", "PRODUCTION", "ModelVersion", "Registry"]

DIGEST_TAG: Final = "bundle.sha256"
SOURCE_TAG: Final = "data.source"
BUNDLE_PATH: Final = "artifacts/bundle"
"""Where a bundle lies inside a logged pyfunc model."""

CARD_FILE: Final = "card.json"
"""The artifact of a version's run that holds its model card."""

_MOVES: Final = "\n\n**Moves**\n\n"
"""Between the two parts of a version's description."""

_LONGEST: Final = 5_000
"""Characters of a description that MLflow keeps."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelVersion:
    """A version as the registry describes it."""

    version: int
    run_id: str
    digest: str | None
    tags: dict[str, str]
    model_id: str = ""
    """Of its logged model, to which MLflow ties figures; empty for a version that was not made from one."""

    @property
    def source(self) -> str:
        """Where its training data came from; empty where nothing says so."""
        return self.tags.get(SOURCE_TAG, "")


class Registry:
    """The registered model ``model_name`` on an MLflow tracking server.

    Every method raises `Unavailable` when the server cannot be reached.
    """

    def __init__(self, tracking_uri: str, model_name: str = "fraud-ensemble") -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._client = open_client(tracking_uri)

    def resolve(self, alias: str) -> ModelVersion | None:
        """The version that an alias names, without regard to case; None where nothing does.

        Where spellings disagree, a warning says which is followed; see `stores.moves.followed`.
        """
        with translated(self.tracking_uri):
            model = self._registered_model()
            number = None if model is None else followed(_aliases(model), model.tags, alias)
            if model is None or number is None:
                return None
            named = spellings(_aliases(model), alias)
            if len(set(named.values())) > 1:
                _log.warning("aliases %s differ only in case; following version %s", sorted(named), number)
            return self.version(number)

    def aliases(self) -> dict[str, int]:
        """The versions that Production, Previous and Challenger name, without regard to case; those that are set."""
        with translated(self.tracking_uri):
            model = self._registered_model()
            found = {alias: followed(_aliases(model), model.tags, alias) for alias in ALIASES} if model else {}
        return {alias: number for alias, number in found.items() if number is not None}

    def twins(self) -> dict[str, list[str]]:
        """Aliases that stand there in several spellings; a move folds them into one."""
        with translated(self.tracking_uri):
            model = self._registered_model()
            found = {alias: sorted(spellings(_aliases(model), alias)) for alias in ALIASES} if model else {}
        return {alias: names for alias, names in found.items() if len(names) > 1}

    def version(self, number: int) -> ModelVersion:
        """One version by its number.

        Raises
        ------
        InvalidInput
            When there is none.
        """
        with translated(self.tracking_uri):
            try:
                return _described(self._client.get_model_version(self.model_name, str(number)))
            except MlflowException as error:
                if error.error_code != NOT_FOUND:
                    raise
                raise InvalidInput(
                    f"There is no version {number} of {self.model_name}.", "See `python -m pipelines history`."
                ) from error

    def find(self, run_id: str) -> ModelVersion | None:
        """The newest version that a run registered."""
        return self._newest(f"run_id = '{run_id}'")

    def find_bundle(self, digest: str) -> ModelVersion | None:
        """The newest version with exactly these files, whichever run registered it."""
        return self._newest(f"tags.`{DIGEST_TAG}` = '{digest}'")

    def _newest(self, condition: str) -> ModelVersion | None:
        with translated(self.tracking_uri):
            found = self._client.search_model_versions(f"name = '{self.model_name}' and {condition}")
            return max(map(_described, found), key=lambda v: v.version, default=None)

    def register(self, model_uri: str, run_id: str, tags: dict[str, str], description: str) -> ModelVersion:
        """A new version of a logged model; the registered model is made when it does not exist."""
        self.require_model()
        with translated(self.tracking_uri):
            created = self._client.create_model_version(
                self.model_name,
                source=model_uri,
                run_id=run_id,
                tags=tags,
                description=description,
                model_id=model_uri.rsplit("/", 1)[-1],
            )
            return _described(created)

    def require_model(self) -> None:
        """Make the registered model where there is none."""
        with translated(self.tracking_uri):
            if self._registered_model() is None:
                self._client.create_registered_model(
                    self.model_name, description="Card-fraud ensemble: isolation forest and XGBoost as ONNX."
                )

    def tag(self, number: int, key: str, value: str) -> None:
        """Set a tag of a version."""
        with translated(self.tracking_uri):
            self._client.set_model_version_tag(self.model_name, str(number), key, value)

    def describe(self, number: int, summary: str | None, moves: str | None = None) -> None:
        """Set what MLflow's page says of a version: what it is, and below what became of it; None leaves a part."""
        with translated(self.tracking_uri):
            standing = self._client.get_model_version(self.model_name, str(number)).description or ""
            above, _, below = standing.partition(_MOVES)
            above, below = above if summary is None else summary, below if moves is None else moves
            text = (f"{above}{_MOVES}{below}" if below else above)[:_LONGEST]
            if text != standing:
                self._client.update_model_version(self.model_name, str(number), text)

    def model_tag(self, key: str) -> str | None:
        """A tag of the registered model; None where it is not set."""
        with translated(self.tracking_uri):
            model = self._registered_model()
            return model.tags.get(key) if model else None

    def tag_model(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        with translated(self.tracking_uri):
            self._client.set_registered_model_tag(self.model_name, key, value)

    def move(self, alias: str, number: int | None) -> None:
        """Point an alias at a version, or at none, and fold spellings that differ only in case into this one."""
        with translated(self.tracking_uri):
            self._client.set_registered_model_tag(self.model_name, MOVED_TAG + alias, str(number))
            if number is not None:
                self._client.set_registered_model_alias(self.model_name, alias, str(number))
            model = self._registered_model()
            for other in spellings(_aliases(model), alias) if model else {}:
                if other != alias or number is None:
                    self._client.delete_registered_model_alias(self.model_name, other)

    def download_bundle(self, number: int, folder: Path) -> None:
        """Fetch a version's bundle into a folder, which must not exist yet; it appears whole or not at all.

        File by file: a server could list files and folders without end.
        """
        from mlflow.artifacts import download_artifacts, list_artifacts

        folder.parent.mkdir(parents=True, exist_ok=True)
        with translated(self.tracking_uri), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            # Not "models:/name/version": MLflow resolves that by the process's global registry, not this one.
            model = self._client.get_model_version_download_uri(self.model_name, str(number))
            place = f"{model.rstrip('/')}/{BUNDLE_PATH}"
            listed = list_artifacts(artifact_uri=place, tracking_uri=self.tracking_uri)
            there = {PurePosixPath(file.path).name for file in listed if not file.is_dir}
            if not there:
                raise Unavailable(f"There is no bundle at {place}.", "Check the artifact store, or promote again.")
            bundle = Path(scratch) / "bundle"
            bundle.mkdir()
            for name in there.intersection(FILES):
                download_artifacts(artifact_uri=f"{place}/{name}", dst_path=str(bundle), tracking_uri=self.tracking_uri)
            take_place(bundle, folder)

    def bundle(self, version: ModelVersion, *, require_digest: bool = True) -> Bundle:
        """A version's bundle, if its files are what its digest tag says.

        Parameters
        ----------
        require_digest : bool
            Whether to refuse a version without a digest tag, such as one that was registered by hand.

        Raises
        ------
        InvalidBundle
            When the files are not what was registered, or there is no tag.
        """
        if require_digest and version.digest is None:
            raise InvalidBundle(f"Version {version.version} has no digest tag.", "Register it with `promote`.")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "bundle"
            self.download_bundle(version.version, folder)
            return read_bundle(folder, version.digest)

    def card(self, version: ModelVersion) -> Card | None:
        """A version's model card, as promotion left it in its run; None where there is none of this bundle."""
        with translated(self.tracking_uri), tempfile.TemporaryDirectory() as scratch:
            if not version.run_id or CARD_FILE not in {f.path for f in self._client.list_artifacts(version.run_id)}:
                return None
            content = Path(self._client.download_artifacts(version.run_id, CARD_FILE, scratch)).read_bytes()
        try:
            card = Card.model_validate_json(content)
        except ValidationError as error:
            _log.warning("the model card of version %d is none: %s", version.version, error.errors()[0]["msg"])
            return None
        # a run that was registered twice has the card of the version that was judged last
        said = card.version, card.lineage.get("bundle digest")
        return card if said == (version.version, version.digest) else None

    def _registered_model(self) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code == NOT_FOUND:
                return None
            raise


def _aliases(model: RegisteredModel) -> dict[str, int]:
    return {name: int(version) for name, version in model.aliases.items()}


def _described(version: MlflowVersion) -> ModelVersion:
    tags, source = dict(version.tags), version.source or ""
    # what was given as its model's id is not kept by the server, but in the address of its files
    model_id = source.removeprefix("models:/") if source.startswith("models:/m-") else ""
    return ModelVersion(int(version.version), version.run_id or "", tags.get(DIGEST_TAG), tags, model_id)
