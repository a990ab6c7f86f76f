"""The step ``prune``: removes runs, models, releases and studies that nothing needs any more, and their files.

Needed is the run of every registered version, with its children and what it was made from; every run whose bundle the
history names; a retraining that is going on; what a person has tagged ``fraud.keep``; and all that is younger than the
given age. Registered versions and the history themselves are never touched, so that every kept decision can be replayed
and every earlier version put back. Of releases goes a bundle that the registry holds too, unless a pointer or an alias
names it.

Each part can be done twice. If it is killed, the next call finds what is left: a run stays in MLflow's trash until its
models are gone, and names them.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from rich.text import Text

from ml_project.errors import Unavailable
from pipelines.console import Table, step
from pipelines.promotion.mover import open_stores
from pipelines.promotion.policy import MODEL_RUN_TAG
from pipelines.retraining.run import OUTCOME_TAG as RETRAINED_TAG
from pipelines.retraining.run import STEP as RETRAIN
from pipelines.settings import PipelineSettings
from pipelines.tracking import STEP_TAG, Tracker
from pipelines.training.study import old_studies, remove_study
from stores.mlflow_client import NOT_FOUND
from stores.moves import Record
from stores.objects import Objects
from stores.registry import DIGEST_TAG

KEEP_TAG: Final = "fraud.keep"
"""A run with this tag, whatever its value, stays."""

_STUDY_TAG: Final = "optuna.study"
_UNDER_WAY: Final = timedelta(days=1)
"""A run of this age may be going on: a retraining that was cut short is continued for as long."""

_CHUNK: Final = 500
"""Runs or models that one call of ``mlflow gc`` removes."""

_GRAVE: Final = "pruned "


@dataclass(frozen=True)
class Needed:
    """What decides about runs.

    Attributes
    ----------
    versions : dict of str to str
        By the id of a run: the registered versions that need it, in words.
    digests : set of str
        Of the bundles that the history names.
    before : datetime
        What began later stays.
    now : datetime
    """

    versions: dict[str, str]
    digests: frozenset[str]
    before: datetime
    now: datetime

    def reason(self, run: MlflowRun) -> str:
        """Why a run of a pipeline is kept; empty where nothing needs it."""
        tags, begun = run.data.tags, datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        if run.info.run_id in self.versions:
            return self.versions[run.info.run_id]
        if tags.get(DIGEST_TAG) in self.digests:
            return "the history names its bundle"
        if KEEP_TAG in tags:
            return f"tagged {KEEP_TAG}"
        if begun >= self.before:
            return "young"
        going_on = run.info.status == "RUNNING" or (tags[STEP_TAG] == RETRAIN and RETRAINED_TAG not in tags)
        return "may be going on" if going_on and self.now - begun < _UNDER_WAY else ""


@dataclass(frozen=True)
class Plan:
    """What goes, and what stays for which reason.

    Attributes
    ----------
    runs : list of Run
        Pipeline runs that nothing needs, and those below them; some may be in MLflow's trash already.
    models : list of str
        Ids of the logged models of these runs.
    releases : list of str
        Objects below the place of releases.
    studies : list of str
    bytes : dict of str to int
        Of the files of each kind.
    kept : dict of str to int
        Pipeline runs by the reason to keep them.
    """

    runs: list[MlflowRun]
    models: list[str]
    releases: list[str]
    studies: list[str]
    bytes: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.runs or self.releases or self.studies)

    def to_table(self) -> Table:
        """For the terminal."""
        table = Table(("what goes", "how many", "bytes"), numbers=("how many", "bytes"))
        for name, count in (("runs", len(self.runs)), ("models", len(self.models)), ("releases", len(self.releases))):
            table.add_row(name, f"{count:,}", f"{self.bytes.get(name, 0):,}")
        table.add_row("studies", f"{len(self.studies):,}", "")
        table.add_section()
        for reason, count in sorted(self.kept.items(), key=lambda each: -each[1]):
            table.add_row(Text(f"kept: {reason}", "dim"), Text(f"{count:,}", "dim"))
        return table


class Pruner:
    """Finds what nothing needs, and removes it.

    Parameters
    ----------
    older_than : timedelta
        What began within this time stays.
    """

    def __init__(self, settings: PipelineSettings, older_than: timedelta, now: datetime) -> None:
        self._settings = settings
        self._tracker = Tracker(settings)
        self._client = self._tracker.client
        self._stores = open_stores(settings)
        self._before, self._now = now - older_than, now

    def look(self) -> Plan:
        """What would go.

        Raises
        ------
        Unavailable
            When MLflow, the place of releases or the study's database does not answer.
        """
        with self._tracker.answering(), step("look for what nothing needs"):
            record = self._stores.history.read()
            versions = self._versions()
            needed = Needed(self._runs_of(versions), _digests(record), self._before, self._now)
            active, trash = (list(self._runs(kind)) for kind in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY))
            doomed, kept = chosen(active, trash, needed)
            models = [each.model_id for run in doomed for each in (run.outputs.model_outputs if run.outputs else ())]
            releases = self._releases(versions)
            kept_studies = {run.data.tags.get(_STUDY_TAG, "") for run in active} - {
                run.data.tags.get(_STUDY_TAG, "") for run in doomed
            }
            studies = sorted(old_studies(self._settings.study, self._before) - kept_studies)
            sizes = {
                "runs": self._bytes(doomed, lambda run, path: self._client.list_artifacts(run.info.run_id, path)),
                "models": self._bytes(models, self._files_of_model),
                "releases": sum(_size(self._stores.releases.objects, name) for name in releases),
            }
        reasons: dict[str, int] = {}
        for reason in kept.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        return Plan(doomed, models, releases, studies, sizes, reasons)

    def remove(self, plan: Plan) -> bool:
        """Remove it; False where MLflow's files stay, as its database is not known here.

        Raises
        ------
        Unavailable
            When a server does not answer, or ``mlflow gc`` fails.
        """
        with self._tracker.answering():
            with step(f"remove {len(plan.releases)} released files and {len(plan.studies)} studies"):
                for name in set(plan.releases) & set(self._releases(self._versions())):  # Production may have moved
                    self._stores.releases.objects.remove(name)
                for name in plan.studies:
                    remove_study(self._settings.study, name)
            with step(f"remove {len(plan.runs)} runs"):
                # children first: what is left of a killed call is then still found by its parent
                for run in sorted(plan.runs, key=lambda run: MLFLOW_PARENT_RUN_ID not in run.data.tags):
                    self._put_into_trash(run)
            database = self._settings.mlflow_database_address
            if not database:
                return False
            with step("mlflow gc"):
                present = _models_present(database, plan.models)
                _collect(self._client, database, [], present)
                _collect(self._client, database, [run.info.run_id for run in plan.runs], [])
        return True

    def _put_into_trash(self, run: MlflowRun) -> None:
        if run.info.lifecycle_stage != "active" or self._stores.registry.find(run.info.run_id):
            return
        for output in run.outputs.model_outputs if run.outputs else ():
            with suppress(MlflowException):  # it is there already
                self._client.delete_logged_model(output.model_id)
        self._client.delete_run(run.info.run_id)

    def _versions(self) -> list[Any]:
        """All versions of all registered models: who registers a run's model elsewhere needs the run as well."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions("", max_results=1_000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _runs_of(self, versions: Iterable[Any]) -> dict[str, str]:
        needed: dict[str, str] = {}
        for version in versions:
            if version.run_id:
                needed[version.run_id] = "of a registered version"
                with suppress(MlflowException):  # removed by hand
                    trained = self._client.get_run(version.run_id).data.tags.get(MODEL_RUN_TAG)
                    needed |= {trained: "trained the model of a registered version"} if trained else {}
        return needed

    def _runs(self, view: int) -> Iterator[MlflowRun]:
        experiments = [
            found.experiment_id
            for name in (self._settings.experiment, self._settings.scoring_experiment)
            if (found := self._client.get_experiment_by_name(name)) is not None
        ]
        token = None
        while experiments:
            page = self._client.search_runs(experiments, "", view, max_results=1_000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _releases(self, versions: Iterable[Any]) -> list[str]:
        """Released files of bundles that the registry holds, too, but for what pointer and aliases name."""
        releases, registry = self._stores.releases, self._stores.registry
        current = releases.current()
        live = {current.digest} if current else set()
        live |= {registry.version(number).digest or "" for number in registry.aliases().values()}
        held = {version.tags.get(DIGEST_TAG, "") for version in versions if self._held(version)}
        cards = {current.card} if current else set()
        gone = held - live
        return [
            name
            for name in releases.objects.names()
            if (name.startswith("bundles/") and name.split("/")[1] in gone)
            or (name.startswith("cards/") and current and name.removeprefix("cards/").partition(".")[0] not in cards)
        ]

    def _held(self, version: Any) -> bool:
        """Whether the registry has the files of a version's bundle."""
        if not (version.source or "").startswith("models:/m-"):
            return False
        files = self._client.list_logged_model_artifacts(version.source.removeprefix("models:/"), "artifacts/bundle")
        return len(list(files)) > 0

    def _files_of_model(self, model: str, path: str | None) -> Iterable[Any]:
        try:
            return list(self._client.list_logged_model_artifacts(model, path))
        except MlflowException:  # removed, but for its files
            return []

    def _bytes(self, owners: Sequence[Any], listed: Callable[[Any, str | None], Iterable[Any]]) -> int:
        total = 0
        for owner in owners:
            paths: list[str | None] = [None]
            while paths:
                for file in listed(owner, paths.pop()):
                    if file.is_dir:
                        paths.append(file.path)
                    else:
                        total += file.file_size or 0
        return total


def chosen(
    active: Iterable[MlflowRun], trash: Iterable[MlflowRun], needed: Needed
) -> tuple[list[MlflowRun], dict[str, str]]:
    """Runs that go, and by its id each pipeline run that stays with the reason; pure.

    Parameters
    ----------
    active, trash
        All runs, and those in MLflow's trash: steps that were cut short, and what people have put there.
    """
    known = [run for run in (*active, *trash) if {STEP_TAG, MLFLOW_PARENT_RUN_ID} & run.data.tags.keys()]
    parents = {run.info.run_id: run for run in known if MLFLOW_PARENT_RUN_ID not in run.data.tags}
    reasons = {run_id: needed.reason(run) for run_id, run in parents.items()}
    kept = {run_id: reason for run_id, reason in reasons.items() if reason}
    doomed = []
    for run in known:
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID, run.info.run_id)
        discarded = run.info.lifecycle_stage != "active" and parent != run.info.run_id
        old = run.info.start_time < needed.before.timestamp() * 1000
        if run.info.run_id not in needed.versions and old and (parent not in kept or discarded):
            doomed.append(run)
    return doomed, kept


def _digests(record: Record) -> frozenset[str]:
    return frozenset(entry.move.digest for entry in record.entries if entry.move.digest)


def _size(objects: Objects, name: str) -> int:
    with objects.open(name) as file:
        return int(file.size())


def _models_present(database: str, models: Iterable[str]) -> list[str]:
    """Those of which MLflow still has something: an earlier call may have been killed among them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(database, "unused")  # type: ignore[no-untyped-call]
    present = []
    for model in models:
        try:
            store.get_logged_model(model, allow_deleted=True)
        except MlflowException as error:
            if error.error_code != NOT_FOUND:
                raise
        else:
            present.append(model)
    return present


def _collect(client: MlflowClient, database: str, runs: Sequence[str], models: Sequence[str]) -> None:
    """Let ``mlflow gc`` remove these, and nothing else.

    Of a kind that it is not told the ids of, it takes everything in the trash, whoever has put it there: so each call
    is given an experiment with a run and a model of its own.
    """
    for begin in range(0, max(len(runs), len(models)), _CHUNK):
        grave = client.create_experiment(f"{_GRAVE}{uuid4().hex}")
        run = client.create_run(grave).info.run_id
        model = client.create_logged_model(grave, source_run_id=run).model_id
        client.delete_logged_model(model)
        client.delete_run(run)
        client.delete_experiment(grave)
        asked = {
            "--run-ids": [run, *runs[begin : begin + _CHUNK]],
            "--logged-model-ids": [model, *models[begin : begin + _CHUNK]],
            "--experiment-ids": [grave],
        }
        command = [sys.executable, "-m", "mlflow", "gc"]
        if "@" not in client.tracking_uri:  # files behind a server are removed through it
            command += ["--tracking-uri", client.tracking_uri]
        for option, ids in asked.items():
            command += [option, ",".join(ids)]
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            # by the environment: the database's address may hold a password, and ps shows arguments
            env={**os.environ, "MLFLOW_TRACKING_URI": database},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
            raise Unavailable(f"mlflow gc failed: {said}", "Run prune again: it goes on where it was.")
