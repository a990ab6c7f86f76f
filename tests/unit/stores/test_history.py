"""The history against a real MLflow store."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import InvalidInput, Unavailable
from stores.history import LONGEST, History
from stores.moves import Ending, Kind, Move

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def history(mlflow_store: MlflowClient, request: pytest.FixtureRequest) -> History:
    return History(mlflow_store.tracking_uri, request.node.name)


def move(token: str, why: str = "better") -> Move:
    return Move(
        kind=Kind.CHALLENGE,
        alias="Challenger",
        origin=None,
        to=1,
        who="anna",
        when=NOON,
        why=why,
        gate="none",
        tool="1.0",
        token=token,
    )


def runs(client: MlflowClient, history: History) -> list[str]:
    experiments = client.search_experiments(filter_string=f"name LIKE '{history.model_name}-history%'")
    return [run.info.run_id for run in client.search_runs([e.experiment_id for e in experiments])]


def test_reading_makes_nothing(history: History, mlflow_store: MlflowClient):
    assert history.read().entries == ()
    assert mlflow_store.get_experiment_by_name(f"{history.model_name}-history") is None


def test_a_number_is_claimed_once(history: History):
    assert history.claim(1, move("a"))
    assert history.claim(1, move("a"))  # a retry after a lost answer
    assert not history.claim(1, move("b"))
    assert history.claim(2, move("b"))
    assert [entry.move.token for entry in history.read().entries] == ["a", "b"]


def test_of_many_claimants_at_once_one_wins_and_there_is_one_run(history: History, mlflow_store: MlflowClient):
    def claim(token: str) -> bool:
        return History(history.tracking_uri, history.model_name).claim(1, move(token))

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(claim, "abcdef"))
    assert won.count(True) == 1
    assert history.read().entries[0].move.token == "abcdef"[won.index(True)]
    assert runs(mlflow_store, history) == [history.run_id]


def test_the_first_ending_stands(history: History):
    history.claim(1, move("a"))
    done, undone = (Ending(outcome=outcome, who="anna", when=NOON) for outcome in ("done", "undone"))
    assert history.end(1, done) == done
    assert history.end(1, undone) == done
    assert history.read().entries[0].ending == done


def test_what_mlflow_would_cut_off_is_refused(history: History):
    with pytest.raises(InvalidInput, match="keeps 6000 characters"):
        history.claim(1, move("a", why="x" * LONGEST))
    assert history.read().last == 0


def test_a_person_with_mlflow_alone_can_read_it(history: History, mlflow_store: MlflowClient):
    history.claim(1, move("a"))
    run = mlflow_store.get_run(history.run_id)
    assert (run.info.run_name, run.info.status) == (f"moves of {history.model_name}", "FINISHED")
    assert run.data.tags["fraud.model"] == history.model_name
    assert "who moved what, when, why" in run.data.tags["mlflow.note.content"]
    assert json.loads(run.data.params["move-0001"])["who"] == "anna"


def test_a_deleted_history_is_not_begun_anew(history: History, mlflow_store: MlflowClient):
    history.claim(1, move("a"))
    experiment = mlflow_store.get_experiment_by_name(f"{history.model_name}-history").experiment_id
    mlflow_store.delete_run(history.run_id)
    for act in (history.read, lambda: history.claim(2, move("b"))):
        with pytest.raises(Unavailable, match="was deleted"):
            act()
    mlflow_store.delete_experiment(experiment)
    with pytest.raises(Unavailable, match=f"mlflow experiments restore --experiment-id {experiment}"):
        History(history.tracking_uri, history.model_name).read()
