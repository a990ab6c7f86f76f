"""The one run that holds a model's history: made once, found again, never two of them.

MLflow lets anybody make any number of runs, but no two experiments of one name. So the run is made in an experiment
with a name of its own, which is then renamed: of several that do so at the same time, one gets the name.
"""

from typing import Final
from uuid import uuid4

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from ml_project.errors import Unavailable

RUN_TAG: Final = "fraud.history.run"
MODEL_TAG: Final = "fraud.model"

_NOTE: Final = (
    "Every move of an alias of {model}. Parameter `move-N` says who moved what, when, why and with which gate result; "
    "`done-N` says how it ended. MLflow does not let anybody change them. `python -m pipelines history` shows a table."
)


def history_name(model_name: str) -> str:
    """The name of the history's experiment."""
    return f"{model_name}-history"


def find_run(client: MlflowClient, model_name: str) -> str | None:
    """The history run's id; None where there is none yet.

    Raises
    ------
    Unavailable
        When somebody deleted the experiment: a new one would forget every move.
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
    """Make the history run; where somebody else is first, theirs."""
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
