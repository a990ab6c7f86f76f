"""The suite on Spark says what it says of the same data in pandas."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.simulator import simulate
from pipelines.data.ingest import ingest, read_ingested, write_ingested
from pipelines.data.validation import validate, validate_on_spark
from pipelines.settings import PipelineSettings
from tests.support.creditcard import CREDITCARD, LABEL, RAW_FEATURES

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # two libraries' worth of them


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    """With 6,000 ingested transactions, half of the legitimate ones standing for three."""
    (chunk,) = simulate(6_000, seed=4, fraud_rate=0.01)
    weight = np.where((chunk.label == 0) & (np.arange(6_000) % 2 == 0), 3.0, 1.0)
    times = pd.to_datetime(chunk.raw[:, 0] * 1e9 + 1.7e18, unit="ns", utc=True)
    frame = pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES))
    frame.assign(**{LABEL: chunk.label}, Weight=weight, event_time=times).to_parquet(tmp_path / "bank.parquet")
    settings = PipelineSettings(state_dir=tmp_path)  # type: ignore[call-arg]
    ingest(str(tmp_path / "bank.parquet"), settings.dataset_path, CREDITCARD, cache=tmp_path, on_notice=print)
    return settings


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_the_verdicts_are_those_of_pandas(spark: Any, settings: PipelineSettings, tmp_path: Path, shift: float) -> None:
    frame, meta = read_ingested(settings.dataset_path, CREDITCARD)
    frame["V14"] += shift
    write_ingested(frame, meta, settings.dataset_path)
    here = validate(frame, CREDITCARD, meta, tmp_path / "pandas")
    there, told = validate_on_spark(settings, tmp_path / "spark")
    assert told == meta
    assert there.success == here.success == (shift == 0.0)
    pace = {name: here.figures[name] for name in ("days", "rows_per_day")}
    assert {name: there.figures[name] for name in pace} == pytest.approx(pace, rel=0.01)  # by Spark's own quantiles
    assert there.figures == pytest.approx(here.figures | {name: there.figures[name] for name in pace})
    verdicts = [(check.expectation, check.column, check.success) for check in here.checks]
    assert [(check.expectation, check.column, check.success) for check in there.checks] == verdicts
    assert (tmp_path / "spark" / "index.html").is_file()
