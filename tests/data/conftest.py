"""The data under test: samples, or with ``--ingested`` what ``pipelines ingest`` left under FRAUD_STATE_DIR."""

import pandas as pd
import pytest

from ml_project.cleaning import clean
from ml_project.simulator import simulate
from pipelines.data.ingest import read_ingested
from pipelines.settings import PipelineSettings
from tests.support.creditcard import CREDITCARD, LABEL, RAW_FEATURES

ROWS = 60_000


def _simulated() -> pd.DataFrame:
    frames = [
        pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(**{LABEL: chunk.label})
        for chunk in simulate(ROWS, seed=0)
    ]
    return pd.concat(frames, ignore_index=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "transactions" in metafunc.fixturenames:
        chosen = ["ingested"] if metafunc.config.getoption("--ingested") else ["simulated", "real sample"]
        metafunc.parametrize("transactions", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def transactions(request: pytest.FixtureRequest) -> pd.DataFrame:
    """Clean transactions as the pipeline trains on them."""
    if request.param == "ingested":
        return read_ingested(PipelineSettings.model_validate({}).dataset_path, CREDITCARD)[0]
    if request.param == "simulated":
        return clean(_simulated(), CREDITCARD, "reject")[0]
    return clean(request.getfixturevalue("real_sample"), CREDITCARD, "reject")[0]
