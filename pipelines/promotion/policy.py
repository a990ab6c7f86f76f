"""``policy set``: the same model under another threshold policy, as a new version that goes through the gate.

The manifest holds the thresholds of every policy since training; the new bundle only names another one. Its run copies
what the gate reads from the run of the model, and is linked to it.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Run as MlflowRun
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from pipelines.console import step
from pipelines.promotion.mover import open_stores
from pipelines.promotion.promote import Order, Promotion, promote
from pipelines.settings import PipelineSettings
from pipelines.tracking import DATA_NAME_TAG, DONE_TAG, DataPart, Run, Tracker
from pipelines.training.model_logging import (
    MODEL_URI_TAG,
    TWIN,
    log_bundle,
    log_model,
    model_params,
    model_tags,
    read_run_bundle,
)
from pipelines.training.threshold import POLICY_TAG
from pipelines.training.train import DRAFTS, PARITY, SCORES
from stores.moves import PRODUCTION, Kind
from stores.registry import DIGEST_TAG, ModelVersion

MODEL_RUN_TAG = "fraud.policy_of"
"""On a run made here: the run that trained the model."""


def set_policy(settings: PipelineSettings, policy: str, reason: str = "") -> Promotion:
    """Make a version of Production's model under another policy and promote it if the gate lets it pass.

    If such a version exists already, it is promoted.

    Raises
    ------
    InvalidInput
        When nothing is Production, or its bundle has no such policy.
    """
    tracker = Tracker(settings)
    registry = open_stores(settings).registry
    champion = registry.resolve(PRODUCTION)
    if champion is None:
        raise InvalidInput("There is no Production version.", "Promote one first.")
    bundle = under_policy(registry.bundle(champion), policy)
    version = registry.find_bundle(bundle.digest)
    if version is not None:
        run = tracker.run(version.run_id)
    else:
        run = _made_before(tracker, bundle.digest) or _log_version(tracker, champion, bundle)
    order = Order(reason or f"policy {policy}", expect_current=champion.version, kind=Kind.POLICY)
    with tracker.answering():
        return promote(settings, tracker, run, version, order)


def under_policy(bundle: Bundle, policy: str) -> Bundle:
    """The same files but for the policy that the manifest names.

    Raises
    ------
    InvalidInput
        When the bundle was trained without that policy.
    """
    known = bundle.manifest.policies
    if policy not in known:
        raise InvalidInput(f"The bundle has no threshold policy {policy!r}.", f"Choose one of {', '.join(known)}.")
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"policy": policy}))


def _made_before(tracker: Tracker, digest: str) -> Run | None:
    """The run of one that was killed before it registered what it had made."""
    found = tracker.newest({DIGEST_TAG: digest, f"{DONE_TAG}threshold": "true"})
    return tracker.run(found.info.run_id) if found else None


def _log_version(tracker: Tracker, champion: ModelVersion, bundle: Bundle) -> Run:
    policy = bundle.manifest.policy
    trained = tracker.run(champion.run_id)
    # Production may be a version that was made here: its model was trained elsewhere
    trained = tracker.run(trained.data.data.tags.get(MODEL_RUN_TAG, trained.id))
    source = trained.data
    with step(f"policy {policy} for version {champion.version}"), tracker.pipeline_run("policy") as run:
        run.log(
            params=source.data.params | {"policy": policy, "reason": "policy"},
            tags={MODEL_RUN_TAG: trained.id, POLICY_TAG: policy, **_about_data(source)},
        )
        _log_figures(run, source, bundle, _measure(tracker, trained, policy))
        if source.inputs is not None:
            tracker.client.log_inputs(run.id, source.inputs.dataset_inputs)
        with TemporaryDirectory() as scratch:
            for folder in (SCORES, DRAFTS):
                run.log_folder(trained.fetch(folder, Path(scratch)), folder)
        log_bundle(run, under_policy(read_run_bundle(trained, TWIN), policy), TWIN)
        model = log_model(run, bundle, _data(source))
        earned = {name: value for name, value in source.data.metrics.items() if _of_refit(name)}
        run.log(metrics=earned, model=model, data=_data(source))
        run.log(tags={MODEL_URI_TAG: f"models:/{model}", DIGEST_TAG: bundle.digest, f"{DONE_TAG}threshold": "true"})
    return run


def _measure(tracker: Tracker, trained: Run, policy: str) -> dict[str, float]:
    """The twin's figures under the policy, as the step `threshold` measured them on test."""
    children = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{trained.id}' and params.policy = '{policy}' and tags.kind = 'policy'"
    found = tracker.client.search_runs([trained.experiment_id], children, max_results=1)
    figures = found[0].data.metrics if found else {}
    return {name: value for name, value in figures.items() if name.startswith("test_")}


def _log_figures(run: Run, source: MlflowRun, bundle: Bundle, measured: dict[str, float]) -> None:
    """The twin's figures under the policy, as a model's of its own."""
    figures = source.data.metrics | measured
    params = {**model_params(bundle), "policy": bundle.manifest.policy}
    twin = run.add_model(TWIN, "evaluation twin", params, model_tags(bundle, _data(source, "training")))
    test = {name: value for name, value in figures.items() if name.startswith(("test_", "twin_"))}
    run.log(metrics=test, model=twin, data=_data(source, "test"))


def _of_refit(metric: str) -> bool:
    return metric.startswith("forward_") or metric == PARITY


def _data(source: MlflowRun, part: str = "") -> DataPart:
    return DataPart.of(source.data.tags[DATA_NAME_TAG], source.data.tags["data.digest"], part)


def _about_data(source: MlflowRun) -> dict[str, str]:
    return {name: value for name, value in source.data.tags.items() if name.startswith("data.")}
