"""The same transactions in memory and on Spark."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.dataset import Dataset
from ml_project.simulator import simulate
from pipelines.training.spark.part import SparkPart, read_transactions
from tests.support.creditcard import CREDITCARD, LABEL, RAW_FEATURES, WEIGHT

ROWS = 12_000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Two days, 2 % frauds, legitimate rows that count 1 to 3; in no order, many at the same second."""
    (chunk,) = simulate(ROWS, seed=5, fraud_rate=0.02)
    draws = np.random.default_rng(5)
    weight = np.where(chunk.label == 1, 1.0, draws.integers(1, 4, ROWS))
    frame = pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(**{LABEL: chunk.label, WEIGHT: weight})
    return frame.sample(frac=1.0, random_state=1, ignore_index=True)


@pytest.fixture(scope="module")
def here(frame: pd.DataFrame) -> Dataset:
    return Dataset.from_frame(frame, CREDITCARD)


@pytest.fixture
def there(spark: Any, frame: pd.DataFrame, tmp_path: Path) -> SparkPart:
    frame.to_parquet(tmp_path / "bank.parquet", row_group_size=1_000)
    return read_transactions(spark, tmp_path / "bank.parquet", CREDITCARD, seed=0)
