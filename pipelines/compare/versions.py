"""What a comparison reads of a version: its run, its twin with its test rows, and the bundle that ships."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Run as MlflowRun

from ml_project.bundle import Bundle, read_bundle
from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.policies import Thresholds
from pipelines.model_logging import TWIN, read_run_bundle
from pipelines.tracking import Tracker
from pipelines.train import TEST_ROWS
from stores.registry import Registry


@dataclass(frozen=True)
class ComparedVersion:
    """A version with everything that is compared.

    Attributes
    ----------
    twin, test : Bundle and Dataset, or None
        None where the run holds none, as with a version that somebody registered by hand.
    """

    number: int
    shipped: Bundle
    run: MlflowRun | None
    twin: Bundle | None
    test: Dataset | None

    @property
    def metrics(self) -> dict[str, float]:
        """The run's metrics."""
        return dict(self.run.data.metrics) if self.run else {}

    @property
    def parameters(self) -> dict[str, str]:
        """The run's parameters."""
        return dict(self.run.data.params) if self.run else {}

    @property
    def twin_thresholds(self) -> Thresholds | None:
        """The twin's thresholds by the policy that ships."""
        return self.twin.manifest.policies.get(self.shipped.manifest.policy) if self.twin else None


def read_version(tracker: Tracker, registry: Registry, number: int) -> ComparedVersion:
    """A version from the registry.

    Raises
    ------
    InvalidInput
        When there is no such version.
    """
    version = registry.version(number)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        registry.download_bundle(number, folder)
        shipped = read_bundle(folder, version.digest)
    try:
        run = tracker.run(version.run_id)
    except InvalidInput:
        return ComparedVersion(number, shipped, None, None, None)
    try:
        twin, test = read_run_bundle(run, TWIN), Dataset.from_frame(run.frame(TEST_ROWS))
    except InvalidInput:
        return ComparedVersion(number, shipped, run.data, None, None)
    return ComparedVersion(number, shipped, run.data, twin, test)
