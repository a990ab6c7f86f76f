"""Runs in MLflow: a parent per pipeline execution, children for its parts. One request per kind of thing logged.

Also the SQLite file that stands in for an MLflow server (`create_database`).
"""

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from mlflow.entities import DatasetInput, LoggedModelOutput, LoggedModelStatus, Metric, Param, RunStatus, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient, set_tracking_uri
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from ml_project.errors import InvalidInput
from ml_project.metrics import Estimate
from pipelines.settings import PipelineSettings, launched_in
from stores.error_text import masked
from stores.mlflow_client import open_client, require_server, server_errors, unavailable

STEP_TAG = "fraud.step"
CONTRACT_TAG, CONTRACT_DIGEST_TAG = "fraud.contract", "fraud.contract_digest"
"""The first also on an experiment, whose runs are all of one contract."""

DATA_NAME_TAG = "data.name"
VERSION_TAG = "fraud.version"
"""On a run: the registered version that it made, or that it is about."""

OUTCOME_TAG = "fraud.outcome"
"""What became of a pipeline run's model."""

NAMED_TAG = "fraud.named"
"""On a run whose name somebody gave to ``mlflow run``: it stays."""

DONE_TAG = "fraud.done."
"""Tag of a pipeline run, followed by a step's name, once that step is complete."""

KEY_TAG = "fraud.key"
"""A digest of everything that a run's outcome depends on: the same key is the same run."""

_SAMPLE_SECONDS = 5.0
"""Between two looks at the machine: a training of a minute has some, and one of a day not too many."""

_DIGEST_LENGTH = 32
"""MLflow's limit is 36 characters."""

LAUNCHED_TAG = "fraud.pipeline_run"
"""On a run that ``mlflow run`` made elsewhere: the pipeline run that holds everything."""

REGISTRY_TAG = "fraud.registry"
"""On the same run: the tracking server, or the file in its place, that has the pipeline run."""

TOUCHED_TAG = "fraud.touched"
"""The step that began to work on a run, whether it was allowed to finish or not."""


_launchers: dict[str, str] = {}
"""Where ``mlflow run`` keeps the run that it made, by the run's id, if that is not where this process writes."""


Context = Literal["training", "validation", "test", "refit", "retraining", "monitoring", "scoring", "comparison"]
"""What a run did with a data set, as MLflow's page shows it."""


@dataclass(frozen=True)
class DataPart:
    """Name and digest of data, as MLflow knows them."""

    name: str
    digest: str

    @classmethod
    def of(cls, name: str, digest: str, part: str = "") -> "DataPart":
        """Data by the last part of their name and a digest; ``part`` says which rows of them."""
        stem = Path(name).name
        if not part:
            return cls(stem, digest[:_DIGEST_LENGTH])
        return cls(f"{stem} ({part})", hashlib.sha256(f"{digest} {part}".encode()).hexdigest()[:_DIGEST_LENGTH])


class Run:
    """A run being written, or one that was."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self.client = client
        self.id = run_id
        self.experiment_id = experiment_id

    def log(
        self,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | Estimate] | None = None,
        tags: Mapping[str, object] | None = None,
        step: int = 0,
        *,
        model: str | None = None,
        data: DataPart | None = None,
        when: datetime | None = None,
    ) -> None:
        """Write parameters, metrics and tags; an estimate becomes three metrics: itself, ``_low`` and ``_high``.

        Parameters
        ----------
        model : str, optional
            Id of the logged model (see `add_model`) that earned the metrics: MLflow shows them with it.
        data : DataPart, optional
            What they were measured on. MLflow keeps it for the metrics of models; of others, `log_dataset` tells.
        when : datetime, optional
            The moment that the metrics are about; by default now.
        """
        now = int((when.timestamp() if when else time.time()) * 1000)
        flat: dict[str, float] = {}
        for name, value in ((metric_name(name), value) for name, value in (metrics or {}).items()):
            if isinstance(value, Estimate):
                flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                flat[name] = value
        origin = {
            "model_id": model,
            "dataset_name": data.name if data else None,
            "dataset_digest": data.digest if data else None,
            "run_id": self.id,
        }
        entries = [Metric(name, float(value), now, step, **origin) for name, value in flat.items()]
        self.client.log_batch(
            self.id,
            metrics=entries,
            params=[Param(name, str(value)) for name, value in (params or {}).items()],
            tags=[RunTag(name, str(value)) for name, value in (tags or {}).items()],
        )

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Log how long a step took, unless it fails."""
        begun = time.monotonic()
        yield
        self.log(metrics={f"seconds_{step}": time.monotonic() - begun})

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Log what the block takes of the machine: processors, memory, disk and network, as ``system/...``."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        watch: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            self.id, _SAMPLE_SECONDS, resume_logging=True, tracking_uri=self.client.tracking_uri
        )
        watch.start()
        try:
            yield
        finally:
            watch.finish()

    def rename(self, name: str) -> None:
        """Give the run another name, unless a person has given it one."""
        if NAMED_TAG not in self.data.data.tags:
            self.client.update_run(self.id, name=name)

    def touch(self, step: str) -> None:
        """Write a little: who may only read the run hears it now, and not after minutes of work."""
        self.log(tags={TOUCHED_TAG: step})

    def log_folder(self, folder: Path, path: str) -> None:
        """Store a folder's files as artifacts below ``path``."""
        self.client.log_artifacts(self.id, str(folder), path)

    def log_frame(self, frame: pd.DataFrame, path: str) -> None:
        """Store a frame as a Parquet artifact."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / Path(path).name
            frame.to_parquet(file)
            self.client.log_artifact(self.id, str(file), str(Path(path).parent))

    def log_text(self, text: str, path: str) -> None:
        """Store a text artifact."""
        self.client.log_text(self.id, text, path)

    def log_json(self, content: Any, path: str) -> None:
        """Store a JSON artifact."""
        self.log_text(json.dumps(content, indent=1, sort_keys=True), path)

    def log_dataset(
        self, frame: pd.DataFrame, part: DataPart, context: Context = "training", rows: int | None = None
    ) -> None:
        """Record data as an input of the run; ``rows`` where the frame is a sample of them."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        dataset = from_pandas(frame, name=part.name, digest=part.digest)
        entity = dataset._to_mlflow_entity()
        if rows is not None:
            entity._profile = json.dumps({"num_rows": rows, "num_elements": rows * len(frame.columns)})
        self.client.log_inputs(self.id, [DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, context)])])

    def inputs(self, *contexts: Context) -> list[DatasetInput]:
        """The data that `log_dataset` has recorded as these."""
        found = self.data.inputs
        return [
            each for each in (found.dataset_inputs if found else ()) if {tag.value for tag in each.tags} & set(contexts)
        ]

    def add_model(
        self, name: str, kind: str, params: Mapping[str, object] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Make a logged model of the run, to which metrics can be given (see `log`); its id.

        Parameters
        ----------
        kind : str
            MLflow's ``model_type``: what sort of model it is, in words to group by.
        """
        made = self.client.create_logged_model(
            self.experiment_id,
            name,
            source_run_id=self.id,
            tags=dict(tags or {}),
            params={key: str(value) for key, value in (params or {}).items()},
            model_type=kind,
        )
        self.client.log_outputs(self.id, [LoggedModelOutput(made.model_id, step=0)])
        self.client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        return str(made.model_id)

    def models(self, name: str) -> list[str]:
        """Ids of the run's logged models of a name, newest first."""
        found = self.client.search_logged_models(
            [self.experiment_id],
            f"source_run_id = '{self.id}' AND name = '{name}'",
            order_by=[{"field_name": "creation_time", "ascending": False}],
        )
        return [str(model.model_id) for model in found]

    def fetch(self, path: str, folder: Path) -> Path:
        """Download an artifact (file or folder).

        Raises
        ------
        InvalidInput
            When the run has no such artifact.
        """
        try:
            return Path(self.client.download_artifacts(self.id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise InvalidInput(
                f"Run {self.id} has no artifact {path}: {error}", "Run the earlier steps (ingest, train) first."
            ) from error

    def frame(self, path: str) -> pd.DataFrame:
        """A Parquet artifact."""
        with tempfile.TemporaryDirectory() as scratch:
            return pd.read_parquet(self.fetch(path, Path(scratch)))

    @contextmanager
    def child(
        self, name: str, tags: Mapping[str, str] | None = None, inputs: Sequence[DatasetInput] = ()
    ) -> Iterator["Run"]:
        """A nested run with data of this one (see `inputs`), ended with the block."""
        run = start(self.client, self.experiment_id, name, {MLFLOW_PARENT_RUN_ID: self.id, **(tags or {})})
        if inputs:
            self.client.log_inputs(run.id, list(inputs))
        with ended(run):
            yield run

    def children(self, kind: str = "") -> list[MlflowRun]:
        """What MLflow holds of the nested runs, or of those of a kind."""
        of_kind = f" and tags.kind = '{kind}'" if kind else ""
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.id}'{of_kind}",
            max_results=1000,
        )
        return list(found)

    def discard(self, children: Iterable[MlflowRun]) -> None:
        """Delete nested runs, and their models, of a step that was cut short and is done again.

        MLflow keeps the runs among the deleted.
        """
        for child in children:
            for output in child.outputs.model_outputs if child.outputs else ():
                self.client.delete_logged_model(output.model_id)
            self.client.delete_run(child.info.run_id)

    @property
    def data(self) -> MlflowRun:
        """What MLflow holds of it."""
        return self.client.get_run(self.id)


def metric_name(name: str) -> str:
    """A figure's name as MLflow takes it: of other characters, which a contract's names may hold, their code points."""
    return _NOT_IN_METRICS.sub(lambda found: f"-{ord(found[0]):x}-", name)


_NOT_IN_METRICS = re.compile(r"[^\w\-. :/]", re.ASCII)


class Tracker:
    """The experiment of pipeline runs on one tracking server, which becomes the process's own.

    MLflow's fluent functions know no other, and its SQL store resolves a logged model's address by it too.

    Raises
    ------
    Unavailable
        When the server cannot be reached or refuses access, within seconds.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._uri = settings.mlflow_uri
        require_server(self._uri)
        if not settings.mlflow_server:
            create_database(settings.mlflow_database)
        self._name = settings.experiment
        self._contract = settings.data_contract
        run_id, launcher = os.environ.get("MLFLOW_RUN_ID", ""), os.environ.get("MLFLOW_TRACKING_URI", "")
        if launched_in(launcher):
            _launchers[run_id] = launcher
        set_tracking_uri(self._uri)  # it changes the environment, too
        self.client = open_client(self._uri)
        self._artifacts = settings.state_dir / "artifacts"

    @property
    def experiment_id(self) -> str:
        """The experiment, made when missing."""
        try:
            found = self.client.get_experiment_by_name(self._name)
            if found is not None:
                return str(found.experiment_id)
            # without a server the client decides where artifacts go, and its default is the working directory
            local = self._artifacts.resolve().as_uri() if self._uri.startswith("sqlite:") else None
            kind = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's page opens its view for agents
            return str(self.client.create_experiment(self._name, artifact_location=local, tags=kind))
        except MlflowException as error:
            raise unavailable(self._uri, error) from error

    @contextmanager
    def pipeline_run(self, step: str, earlier: Run | None = None, key: str = "") -> Iterator[Run]:
        """The parent run of a pipeline execution, ended with the block.

        ``mlflow run`` has made a run already: it is taken if it is in this experiment and a new run is wanted, else it
        only points to the run that is used.

        Parameters
        ----------
        earlier : Run, optional
            An interrupted run that is continued instead of a new one.
        key : str, optional
            The run of this key is continued, finished or not; a new one if there is none.

        Raises
        ------
        InvalidInput
            When the experiment holds runs of another contract: their figures would stand beside one another.
        Unavailable
            When the server goes away for longer than its client tries again.
        """
        with self.answering():
            self._require_one_contract()
            if key and (found := self.newest({KEY_TAG: key})):
                earlier = self.run(found.info.run_id)
            with self._parent_run(step, earlier, {KEY_TAG: key} if key else {}) as run:
                yield run

    @property
    def _tags(self) -> dict[str, str]:
        return {CONTRACT_TAG: self._contract.contract, CONTRACT_DIGEST_TAG: self._contract.digest}

    def _require_one_contract(self) -> None:
        experiment = self.client.get_experiment(self.experiment_id)
        known = experiment.tags.get(CONTRACT_TAG)
        if known is None:
            self.client.set_experiment_tag(experiment.experiment_id, CONTRACT_TAG, self._contract.contract)
        elif known != self._contract.contract:
            raise InvalidInput(
                f"The experiment {self._name} holds runs of the contract {known}, not of {self._contract.contract}.",
                "Set FRAUD_CONTRACT to its contract, or FRAUD_EXPERIMENT, FRAUD_MONITORING_EXPERIMENT and "
                "FRAUD_SCORING_EXPERIMENT to names of this one's.",
            )

    @contextmanager
    def _parent_run(self, step: str, earlier: Run | None, tags: Mapping[str, str]) -> Iterator[Run]:
        launched = self._launched()
        here = launched is not None and launched.client is self.client and launched.experiment_id == self.experiment_id
        if launched is not None and here and earlier is None and not tags:
            # MLflow makes up names like adorable-fish-12
            made_up = re.fullmatch(r"[a-z]+-[a-z]+-\d+", launched.data.info.run_name or "")
            launched.log(tags={STEP_TAG: step, **self._tags, **({} if made_up else {NAMED_TAG: "true"})})
            yield launched
            return
        if earlier is None:
            name = f"{step} {time.strftime('%Y-%m-%d %H:%M')}"
            run = start(self.client, self.experiment_id, name, {STEP_TAG: step, **self._tags, **tags})
        else:
            run = earlier
            self.client.update_run(run.id, status=RunStatus.to_string(RunStatus.RUNNING))
        if launched is not None:
            launched.log(tags={LAUNCHED_TAG: run.id, REGISTRY_TAG: masked(self._uri)})
        with ended(run):
            yield run

    def _launched(self) -> Run | None:
        """The run that ``mlflow run`` has made, in its own place where no server is set."""
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            return None
        if run_id not in _launchers:
            return self.run(run_id)
        client = open_client(_launchers[run_id])
        return Run(client, run_id, client.get_run(run_id).info.experiment_id)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn what the server refuses, or does not answer, into one clear error.

        Raises
        ------
        Unavailable
            Then.
        """
        try:
            yield
        except server_errors() as error:
            raise unavailable(self._uri, error) from error

    def run(self, run_id: str) -> Run:
        """An existing run.

        Raises
        ------
        InvalidInput
            When there is none of that id.
        """
        try:
            info = self.client.get_run(run_id).info
        except MlflowException as error:
            raise InvalidInput(f"There is no run {run_id!r} at {self._uri}.", "See the ids in `mlflow ui`.") from error
        return Run(self.client, info.run_id, info.experiment_id)

    def latest(self, step: str) -> Run:
        """The newest run in which a step was completed.

        Raises
        ------
        InvalidInput
            When no run has completed it.
        """
        found = self.newest({f"{DONE_TAG}{step}": "true"})
        if found is None:
            raise InvalidInput(f"No run has completed the step {step!r}.", f"Run `python -m pipelines {step}` first.")
        return Run(self.client, found.info.run_id, found.info.experiment_id)

    def newest(self, tags: Mapping[str, str]) -> MlflowRun | None:
        """What MLflow holds of the newest run with these tags."""
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string=" and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items()),
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return found[0] if found else None


def run_address(settings: PipelineSettings, run: Run, artifact: str = "") -> str:
    """Where people see a run, or an artifact of it, in MLflow's page; without a server, its id and MLflow's file."""
    page = settings.mlflow_page or masked(settings.mlflow_server).replace("***@", "")
    if not page:
        what = f"{artifact} in run {run.id}" if artifact else f"run {run.id}"
        return f"{what} of {settings.mlflow_uri} (to see it: mlflow server --backend-store-uri {settings.mlflow_uri})"
    place = f"/artifacts/{artifact}" if artifact else ""
    return f"{page.rstrip('/')}/#/experiments/{run.experiment_id}/runs/{run.id}{place}"


def start(client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> Run:
    """A new run."""
    run = client.create_run(experiment_id, tags=resolve_tags({MLFLOW_RUN_NAME: name, **tags}))
    return Run(client, run.info.run_id, experiment_id)


@contextmanager
def ended(run: Run) -> Iterator[None]:
    """Set a run's final status, however the block ends."""
    status = RunStatus.FAILED
    try:
        yield
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    finally:
        run.client.set_terminated(run.id, RunStatus.to_string(status))


def create_database(path: Path) -> None:
    """Make MLflow's tables in a new SQLite file, completely or not at all: MLflow cannot use a half-made one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
