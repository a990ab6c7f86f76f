"""Reads and measures everything that the gate looks at."""

from ml_project.dataset import Dataset
from ml_project.errors import InvalidBundle, InvalidInput
from ml_project.scorer import Scorer
from pipelines.gate.evidence import Champion, Evidence, Shipped
from pipelines.gate.latency import latency_ratio
from pipelines.gate.limits import GateLimits
from pipelines.model_logging import MODEL_URI_TAG, TWIN, read_logged_model, read_run_bundle
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run, Tracker
from pipelines.train import TEST_ROWS
from stores.registry import DIGEST_TAG, ModelVersion


def gather(tracker: Tracker, run: Run, champion: ModelVersion | None, limits: GateLimits) -> Evidence:
    """Evidence of a finished run and of the version in Production."""
    data, twin = run.data.data, read_run_bundle(run, TWIN)
    return Evidence(
        parity=data.metrics.get("parity_max_difference"),
        review_cost=_parameter(data.params, "review_cost"),
        alerts_per_day=_parameter(data.params, "alerts_per_day"),
        twin=twin,
        test=Dataset.from_frame(run.frame(TEST_ROWS)),
        shipped=_shipped(tracker, data.tags, limits),
        validated=_validated(tracker, run, twin.manifest.data["digest"]),
        champion=_champion(tracker, champion) if champion else None,
    )


def _parameter(params: dict[str, str], name: str) -> float:
    return float(params.get(name, PipelineSettings.model_fields[name].default))


def _shipped(tracker: Tracker, tags: dict[str, str], limits: GateLimits) -> Shipped:
    expected = tags.get(DIGEST_TAG, "")
    try:
        bundle, signature = read_logged_model(tracker.client, tags[MODEL_URI_TAG], expected)
        difference = Scorer(bundle, threads=1).replay_golden_rows()
    except (InvalidBundle, InvalidInput) as error:
        return Shipped(expected, "", None, error.cause)
    ratio = latency_ratio(bundle, limits.maximum_latency_ratio)
    return Shipped(expected, signature, bundle, "", difference, ratio)


def _validated(tracker: Tracker, run: Run, digest: str) -> bool | None:
    """Step by step, validation has a run of its own, so the data's digest finds it and not the parent's id."""
    found = tracker.client.search_runs(
        [run.experiment_id],
        filter_string=f"tags.kind = 'validation' and tags.`data.digest` = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0].data.tags.get("validation.passed") == "True" if found else None


def _champion(tracker: Tracker, version: ModelVersion) -> Champion:
    source = version.source
    try:
        run = tracker.run(version.run_id)
        twin = read_run_bundle(run, TWIN)
    except (InvalidInput, InvalidBundle):
        return Champion(version.version, None, source, None)
    source = str(twin.manifest.data["source"])
    try:
        _, signature = read_logged_model(tracker.client, run.data.data.tags[MODEL_URI_TAG])
    except (InvalidInput, InvalidBundle, KeyError):
        return Champion(version.version, twin, source, None)
    return Champion(version.version, twin, source, signature)
