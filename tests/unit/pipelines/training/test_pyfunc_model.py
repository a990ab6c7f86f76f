"""The pyfunc refuses what gateway and `score` refuse: a score for it would be a number without meaning."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn

from ml_project.bundle import Bundle
from ml_project.cleaning import clean, learnt_values
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidInput
from ml_project.fitting import fit_twin
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from ml_project.split import split_by_time
from pipelines.training.model_logging import model_parts
from pipelines.training.pyfunc_model import FraudEnsemble
from serving.process import listen
from tests.support.creditcard import RAW_FEATURES
from tests.support.shop import VISITS, visits


class Context:
    """What MLflow hands to a model that it loads."""

    def __init__(self, folder: str) -> None:
        self.artifacts = {"bundle": folder}


@pytest.fixture
def model(bundle: Bundle, tmp_path) -> FraudEnsemble:
    bundle.write(tmp_path / "bundle")
    loaded = FraudEnsemble()
    loaded.load_context(Context(str(tmp_path / "bundle")))
    return loaded


@pytest.fixture
def rows(small_scorer: Scorer) -> pd.DataFrame:
    golden = small_scorer.bundle.manifest.golden_rows
    return pd.DataFrame([row.raw for row in golden], columns=list(RAW_FEATURES))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("Amount", -1.0, "Amount is -1.0, negative"),
        ("Time", -0.5, "Time is -0.5, negative"),
        ("V3", 1e16, "V3 is 1e+16, above 1e"),
        ("V3", np.inf, "V3 is inf, not finite"),
        ("V3", np.nan, "V3 is nan, not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    model: FraudEnsemble, rows: pd.DataFrame, column: str, value: float, said: str
) -> None:
    assert len(model.predict(None, rows)) == len(rows)
    rows.loc[1, column] = value
    with pytest.raises(InvalidInput, match=rf"Row 1: {said.replace('+', '.')}"):
        model.predict(None, rows)


def test_an_own_table_is_served_by_mlflow(small_settings: EnsembleSettings, tmp_path: Path) -> None:
    """By the application that `mlflow models serve` starts: categories, booleans and missing values."""
    from mlflow.pyfunc.scoring_server import init

    frame = visits(800, seed=1, frauds=0.2)
    known = VISITS.with_values(learnt_values(frame, VISITS))
    data = Dataset.from_frame(clean(frame, known)[0], known)
    draft = fit_twin(split_by_time(data), small_settings, LocalEngine(), {"source": "file", "digest": ""}).bundle
    update = {"policy": "f1", "policies": {"f1": Thresholds(0.3, 0.7)}}
    bundle = replace(draft, manifest=draft.manifest.model_copy(update=update))
    mlflow.pyfunc.save_model(tmp_path / "model", **model_parts(bundle, tmp_path / "bundle"))
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    rows = visits(60, seed=3, frauds=0.3).assign(outcome="fraud")
    expected = Scorer(bundle, threads=1).score(Dataset.from_frame(clean(rows, known)[0], known).raw).hybrid
    rows = rows.drop(columns="outcome")
    assert model.predict(rows)["hybrid_score"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(init(model), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/invocations"
        records = json.loads(rows.to_json(orient="records"))
        split = {"columns": list(rows.columns), "data": [list(each.values()) for each in records]}
        bodies = {"dataframe_records": records}, {"dataframe_split": split}
        answers = [httpx.post(address, json=body, timeout=60) for body in bodies]
        wrong = httpx.post(address, json={"dataframe_records": [{**records[0], "risk": "high"}]}, timeout=60)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
    for answer in answers:
        assert answer.status_code == httpx.codes.OK, answer.text
        found = [each["hybrid_score"] for each in answer.json()["predictions"]]
        assert found == pytest.approx(expected.tolist(), abs=1e-6)
    assert wrong.status_code == httpx.codes.BAD_REQUEST
