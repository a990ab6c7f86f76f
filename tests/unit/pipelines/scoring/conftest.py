"""A registered version, tables to score, and the scorer's own results for them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_project.bundle import Bundle
from ml_project.contract_parts import OUTPUTS
from ml_project.policies import decide
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from pipelines.settings import PipelineSettings
from stores.registry import Registry
from tests.support.creditcard import LABEL, RAW_FEATURES
from tests.unit.stores.conftest import AddVersion, add_version, mlflow_store, model, registry

__all__ = ["add_version", "mlflow_store", "model", "registry"]

ROWS = 3_000


@pytest.fixture(autouse=True)
def _no_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture
def settings(registry: Registry, add_version: AddVersion, bundle: Bundle, tmp_path: Path) -> PipelineSettings:
    """Of a registry whose Production is the small bundle."""
    registry.move("Production", add_version(bundle, bundle.digest))
    return PipelineSettings(  # type: ignore[call-arg]
        state_dir=tmp_path / "var", tracking_uri=registry.tracking_uri, model_name=registry.model_name
    )


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """3,000 transactions with names, and a label that scoring carries over like any column."""
    (chunk,) = simulate(ROWS, seed=11, fraud_rate=0.05)
    frame = pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES))
    return frame.assign(transaction_id=[f"t{row}" for row in range(ROWS)], **{LABEL: chunk.label})


@pytest.fixture
def parquet(frame: pd.DataFrame, tmp_path: Path) -> Path:
    """The transactions in row groups of 500."""
    path = tmp_path / "month.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=500)
    return path


@pytest.fixture(scope="session")
def expected(frame: pd.DataFrame, small_scorer: Scorer) -> pd.DataFrame:
    """Scores and decisions by the scorer itself, in the rows' order."""
    scores = small_scorer.score(frame[list(RAW_FEATURES)].to_numpy(np.float64))
    values = (scores.isolation, scores.boosted, scores.hybrid, scores.probability)
    decisions = [str(decide(hybrid, small_scorer.thresholds)) for hybrid in scores.hybrid.tolist()]
    return pd.DataFrame(dict(zip(OUTPUTS, values, strict=True))).assign(decision=decisions)


def read_output(folder: Path) -> pd.DataFrame:
    """The output in the rows' order."""
    found = pd.read_parquet(folder)
    return found.sort_values(["source_file", "source_row"], ignore_index=True)


def assert_equal_scores(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Every row once, with exactly the scorer's numbers."""
    assert found["source_row"].tolist() == list(range(len(expected)))
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], expected[name])
    assert found["decision"].astype(str).tolist() == expected["decision"].tolist()
