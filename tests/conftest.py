"""What tests of several folders share."""

import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest

from ml_project.schema import LABEL, RAW_FEATURES
from ml_project.simulator import simulate

REAL_SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "creditcard_sample.parquet"
REAL_HEAD = REAL_SAMPLE.with_name("creditcard_head.csv")


def missing(part: str) -> NoReturn:
    """Skip the test for a part that this machine lacks, or fail it where FRAUD_TEST_REQUIRE=all wants every part."""
    if os.environ.get("FRAUD_TEST_REQUIRE") == "all":
        pytest.fail(f"{part} is missing, and FRAUD_TEST_REQUIRE=all")
    pytest.skip(f"{part} is missing")


@pytest.fixture(scope="session")
def real_sample() -> pd.DataFrame:
    """A sample of the real data set (columns Time, V1..V28, Amount, Class, Weight), sorted by Time."""
    if not REAL_SAMPLE.is_file():
        missing(str(REAL_SAMPLE))
    return pd.read_parquet(REAL_SAMPLE)


@pytest.fixture(scope="session")
def real_head_path() -> Path:
    """The first 7,972 rows of the original file, in its CSV form; 39 exact duplicates, 25 frauds."""
    if not REAL_HEAD.is_file():
        missing(str(REAL_HEAD))
    return REAL_HEAD


@pytest.fixture
def simulated_frame() -> pd.DataFrame:
    """500 simulated transactions (columns Time, V1..V28, Amount, Class), every tenth a fraud or so."""
    (chunk,) = simulate(500, seed=1, fraud_rate=0.1)
    return pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(**{LABEL: chunk.label.astype(np.int64)})
