"""What a retraining takes over from Production: where its search begins, and where its base data lie in time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ml_project.bundle import read_bundle
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidBundle, InvalidInput
from pipelines.settings import PipelineSettings
from pipelines.tracking import Tracker
from stores.registry import PRODUCTION, Registry

BASE_UNTIL_TAG: Final = "data.base_until"
"""Tag of a retraining's run: where it put the end of base data that have no event times."""


@dataclass(frozen=True)
class Inherited:
    """From the champion; empty where there is none, or nothing of it can be read.

    Attributes
    ----------
    version : int or None
    settings : EnsembleSettings or None
        Its frozen settings, which tuning tries first.
    base_until : datetime or None
        Where its own retraining put the end of base data without event times.
    """

    version: int | None = None
    settings: EnsembleSettings | None = None
    base_until: datetime | None = None


def inherited(settings: PipelineSettings, tracker: Tracker) -> Inherited:
    """What the champion hands on."""
    registry = Registry(settings.mlflow_uri, settings.model_name)
    champion = registry.resolve(PRODUCTION)
    if champion is None:
        return Inherited()
    try:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / "bundle"
            registry.download_bundle(champion.version, folder)
            chosen = EnsembleSettings.from_dict(read_bundle(folder, champion.digest).manifest.settings)
    except (InvalidBundle, InvalidInput):  # registered by hand: no reason not to train a better one
        return Inherited(champion.version)
    until = None
    if champion.run_id:
        until = tracker.run(champion.run_id).data.data.tags.get(BASE_UNTIL_TAG)
    return Inherited(champion.version, chosen, datetime.fromisoformat(until) if until else None)
