"""The history of moves: parameters of one MLflow run, which MLflow does not let anyone change once they are written.

MLflow has no compare-and-swap on aliases, but it refuses a second value for a parameter. So a mover claims a number,
say ``move-0007``, with everything it is about to do, then does it, then writes ``done-0007``. Of two movers one gets
the number; a claim without its ``done`` tells the next mover what was cut short. Values are JSON of at most 6,000
characters: MLflow cuts longer ones off without an error.

There is one such run per model. MLflow allows any number of runs, but no two experiments of one name: the run is made
in an experiment with a unique name, which is then renamed, and of several processes that do so at once one gets the
name.
"""

from typing import Final
from uuid import uuid4

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from ml_project.errors import InvalidInput, Unavailable
from stores.mlflow_client import open_client, translated
from stores.moves import CLAIM, ENDING, Ending, Move, Record

RUN_TAG: Final = "fraud.history.run"
MODEL_TAG: Final = "fraud.model"

_NOTE: Final = (
    "Every move of an alias of {model}. Parameter `move-N` says who moved what, when, why and with which gate result; "
    "`done-N` says how it ended. MLflow lets no one change them. `python -m pipelines history` shows a table."
)


def history_name(model_name: str) -> str:
    """The name of the history's experiment."""
    return f"{model_name}-history"


def find_run(client: MlflowClient, model_name: str) -> str | None:
    """The history run's id; None where there is none yet.

    Raises
    ------
    Unavailable
        When the experiment was deleted: a new one would forget every move.
    """
    found = client.get_experiment_by_name(history_name(model_name))
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise Unavailable(
            f"The experiment {found.name} with the history of moves was deleted.",
            f"Restore it: mlflow experiments restore --experiment-id {found.experiment_id}",
        )
    return str(found.tags[RUN_TAG])


def make_run(client: MlflowClient, model_name: str) -> str:
    """Make the history run; where another process is first, give the one that it made."""
    name = history_name(model_name)
    note = {MLFLOW_RUN_NOTE: _NOTE.format(model=model_name), MODEL_TAG: model_name}
    kind = {"mlflow.experimentKind": "custom_model_development"}
    experiment = client.create_experiment(f"{name}.{uuid4().hex}", tags={**note, **kind})
    run = client.create_run(experiment, tags={**note, MLFLOW_RUN_NAME: f"moves of {model_name}"})
    run_id = str(run.info.run_id)
    # parameters can be added to a finished run, and a run that never ends looks like one that hangs
    client.set_terminated(run_id)
    client.set_experiment_tag(experiment, RUN_TAG, run_id)
    try:
        client.rename_experiment(experiment, name)
    except MlflowException:
        first = find_run(client, model_name)
        if first is None:
            raise
        if first != run_id:
            client.delete_experiment(experiment)
        return first
    return run_id


LONGEST: Final = 6_000


class History:
    """The moves of one registered model on an MLflow tracking server.

    Every method raises `Unavailable` when the server cannot be reached, or when the history was deleted.
    """

    def __init__(self, tracking_uri: str, model_name: str) -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._client = open_client(tracking_uri)
        self._run_id: str | None = None

    def read(self) -> Record:
        """The whole history; empty where nothing was ever moved."""
        with translated(self.tracking_uri):
            self._run_id = self._run_id or find_run(self._client, self.model_name)
            return Record.read(self._params(self._run_id)) if self._run_id else Record()

    def claim(self, number: int, move: Move) -> bool:
        """Take a number for a move; False where another mover has it."""
        return self._write(_key(CLAIM, number), move.to_json())

    def end(self, number: int, ending: Ending) -> Ending:
        """Record how a move ended; gives the ending that stands, which is another mover's where that was first."""
        key = _key(ENDING, number)
        if self._write(key, ending.model_dump_json()):
            return ending
        with translated(self.tracking_uri):
            return Ending.model_validate_json(self._params(self.run_id)[key])

    @property
    def run_id(self) -> str:
        """The history run, made when there is none."""
        with translated(self.tracking_uri):
            self._run_id = self._run_id or find_run(self._client, self.model_name)
            self._run_id = self._run_id or make_run(self._client, self.model_name)
            return self._run_id

    def _write(self, key: str, value: str) -> bool:
        if len(value) > LONGEST:
            raise InvalidInput(f"The history keeps {LONGEST} characters per move, not {len(value)}.", "Shorten it.")
        with translated(self.tracking_uri):
            run_id = self.run_id
            try:
                self._client.log_param(run_id, key, value)
            except MlflowException as error:
                # Refused, or the answer got lost: what is there now decides.
                standing = self._params(run_id).get(key)
                if standing is None:
                    raise Unavailable(
                        f"MLflow did not take {key} of the history run {run_id}: {str(error).splitlines()[0][:200]}"
                    ) from error
                return standing == value
        return True

    def _params(self, run_id: str) -> dict[str, str]:
        run = self._client.get_run(run_id)
        if run.info.lifecycle_stage != "active":
            raise Unavailable(f"The history run {run_id} was deleted.", "Restore it in MLflow's page.")
        return dict(run.data.params)


def _key(prefix: str, number: int) -> str:
    return f"{prefix}{number:04d}"
