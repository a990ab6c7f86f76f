"""Spark cuts where one machine cuts."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine, Part
from ml_project.errors import InvalidInput
from pipelines.training.spark.engine import SparkEngine
from pipelines.training.spark.part import SparkPart, read_transactions
from tests.support.creditcard import CREDITCARD, EVENT_TIME, LABEL

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def known(part: Part) -> tuple[int, int, float, float, float]:
    return len(part), part.frauds, part.first_moment, part.last_moment, part.days


def test_split_and_folds_are_those_of_one_machine(spark: Any, here: Dataset, there: SparkPart) -> None:
    engine = SparkEngine(spark)
    mine, its = LocalEngine().split(here), engine.split(there)
    for name in ("train", "validation", "test"):
        assert known(getattr(its, name)) == known(getattr(mine, name))
        assert getattr(its, name).rows.count() == len(getattr(mine, name))
    pairs = zip(LocalEngine().forward_folds(here), engine.forward_folds(there), strict=True)
    for fold, other in pairs:
        assert (known(other.past), known(other.future)) == (known(fold.past), known(fold.future))


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_event_time_orders_where_there_is_one(spark: Any, frame: pd.DataFrame, tmp_path: Path, unit: str) -> None:
    times = pd.to_datetime(1_700_000_000 - frame["Time"], unit="s", utc=True).astype(f"datetime64[{unit}, UTC]")
    timed = frame.assign(**{EVENT_TIME: times})
    timed.to_parquet(tmp_path / "timed.parquet")
    its = SparkEngine(spark).split(read_transactions(spark, tmp_path / "timed.parquet", CREDITCARD, 0))
    mine = LocalEngine().split(Dataset.from_frame(timed, CREDITCARD))
    assert known(its.test) == pytest.approx(known(mine.test))
    assert its.test.last_moment == pytest.approx(1_700_000_000 - frame["Time"].min())


def test_too_few_frauds_are_refused(spark: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    late = frame["Time"] > frame["Time"].quantile(0.7)
    frame.assign(**{LABEL: frame[LABEL].mask(late, 0)}).to_parquet(tmp_path / "few.parquet")
    with pytest.raises(InvalidInput, match="The test part has 0 frauds"):
        SparkEngine(spark).split(read_transactions(spark, tmp_path / "few.parquet", CREDITCARD, 0))
