"""The step ``promote``: register a candidate, pass it through the gate, move ``Production`` and publish the release."""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from ml_project.bundle import read_bundle
from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from pipelines.gate import GateLimits, GateReport, judge
from pipelines.model_logging import MODEL_URI_TAG, TWIN, read_run_bundle
from pipelines.progress import console, step
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, Run, Tracker
from pipelines.train import TEST_ROWS
from stores.registry import CHALLENGER, DIGEST_TAG, PREVIOUS, PRODUCTION, ModelVersion, Registry
from stores.releases import LocalReleases


class Outcome(StrEnum):
    """What became of a candidate."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Promotion:
    """A candidate's way through the gate.

    Attributes
    ----------
    version : ModelVersion
        The candidate's version; the champion's own where the candidate is that very bundle.
    """

    outcome: Outcome
    version: ModelVersion
    champion: ModelVersion | None
    report: GateReport | None

    @property
    def sentence(self) -> str:
        """For the screen."""
        if self.outcome is Outcome.PROMOTED:
            before = f" (before: version {self.champion.version})" if self.champion else ""
            return f"Production is now version {self.version.version}{before}."
        if self.outcome is Outcome.UNCHANGED:
            return f"The candidate is version {self.version.version}, which is Production already; nothing to do."
        reason = self.report.failures if self.report else ""
        stays = f"Version {self.champion.version} stays Production" if self.champion else "There is still no Production"
        return f"{stays}; version {self.version.version} is Challenger. The gate refused it: {reason}"


def promote(settings: PipelineSettings, tracker: Tracker, run: Run) -> Promotion:
    """Promote a run's model if the gate lets it pass.

    Raises
    ------
    InvalidInput
        When the run has no finished model.
    """
    tags = run.data.data.tags
    if DIGEST_TAG not in tags or MODEL_URI_TAG not in tags:
        raise InvalidInput(f"Run {run.id} has no finished model.", "Run the steps train and threshold first.")
    registry = Registry(settings.mlflow_uri, settings.model_name)
    champion = registry.resolve(PRODUCTION)
    with step("promote"):
        if champion is not None and champion.digest == tags[DIGEST_TAG]:
            _publish(settings, registry, champion, {"passed": True, "checks": []})
            return Promotion(Outcome.UNCHANGED, champion, champion, None)
        candidate = registry.find(run.id) or _register(registry, run, tags)
        report = _judge(tracker, run, champion)
        run.log_json(report.to_dict(), "gate.json")
        console.print(report.to_table())
        registry.tag(candidate.version, "gate.passed", str(report.passed).lower())
        if report.passed:
            _move(registry, candidate, champion)
            _publish(settings, registry, candidate, report.to_dict())
        else:
            registry.move(CHALLENGER, candidate.version)
    run.log(tags={f"{DONE_TAG}promote": "true", "fraud.version": candidate.version})
    return Promotion(Outcome.PROMOTED if report.passed else Outcome.REFUSED, candidate, champion, report)


def _register(registry: Registry, run: Run, tags: dict[str, str]) -> ModelVersion:
    kept: dict[str, str] = {
        name: tags[name] for name in (DIGEST_TAG, "data.source", "data.digest", "fraud.policy") if name in tags
    }
    metrics = run.data.data.metrics
    description = (
        f"Trained on {tags['data.source']} data. Evaluation twin on later rows: average precision "
        f"{metrics['test_average_precision']:.3f} "
        f"[{metrics['test_average_precision_low']:.3f}, {metrics['test_average_precision_high']:.3f}]."
    )
    return registry.register(tags[MODEL_URI_TAG], run.id, kept, description)


def _judge(tracker: Tracker, run: Run, champion: ModelVersion | None) -> GateReport:
    return judge(
        GateLimits.load(),
        run.data.data.metrics,
        read_run_bundle(run, TWIN),
        Dataset.from_frame(run.frame(TEST_ROWS)),
        read_run_bundle(tracker.run(champion.run_id), TWIN) if champion else None,
        champion.version if champion else None,
    )


def _move(registry: Registry, candidate: ModelVersion, champion: ModelVersion | None) -> None:
    if champion is not None:
        registry.move(PREVIOUS, champion.version)
    registry.tag(candidate.version, "promoted.by", getpass.getuser())
    registry.tag(candidate.version, "promoted.at", datetime.now(UTC).isoformat(timespec="seconds"))
    registry.move(PRODUCTION, candidate.version)


def _publish(settings: PipelineSettings, registry: Registry, version: ModelVersion, gate: dict[str, object]) -> None:
    """Publish a version's bundle unless the pointer names it already."""
    releases = LocalReleases(settings.releases)
    current = releases.current()
    if current is not None and (current.version, current.digest) == (version.version, version.digest):
        return
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        registry.download_bundle(version.version, folder)
        bundle = read_bundle(folder, version.digest)
    releases.publish(bundle, settings.model_name, version.version, gate, datetime.now(UTC))
