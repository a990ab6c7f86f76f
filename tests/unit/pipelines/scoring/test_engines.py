"""The same step on Spark: equal numbers, and an executor that dies changes nothing."""

import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from pipelines.scoring import plan as planning
from pipelines.scoring.parts import RECEIPTS
from pipelines.scoring.run import score
from pipelines.settings import PipelineSettings
from tests.support.machine import missing
from tests.unit.pipelines.scoring.conftest import ROWS, assert_equal_scores, read_output

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PART_ROWS", 100)


def test_scores_and_counts_are_those_of_one_machine(
    spark: Any, settings: PipelineSettings, parquet: Path, expected: pd.DataFrame, tmp_path: Path
) -> None:
    here = score(settings, str(parquet), str(tmp_path / "local"), "local")
    there = score(settings, str(parquet), str(tmp_path / "spark"), "spark")
    assert_equal_scores(read_output(tmp_path / "spark"), expected)
    assert (here.job["parts"], there.job["parts"]) == (30, 30)
    for name in ("rows", "decisions", "quarantined", "reasons", "fingerprint", "drifted"):
        assert there.job[name] == here.job[name]
    assert there.job["amounts"] == pytest.approx(here.job["amounts"])
    assert {str(p.relative_to(tmp_path / "spark")) for p in (tmp_path / "spark").rglob("*")} == {
        str(p.relative_to(tmp_path / "local")) for p in (tmp_path / "local").rglob("*")
    }


def test_bad_rows_are_quarantined_alike(
    spark: Any, settings: PipelineSettings, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.assign(V9=frame["V9"].where(frame.index % 1_000 != 7)).to_csv(tmp_path / "bad.csv", index=False)
    scored = score(settings, str(tmp_path / "bad.csv"), str(tmp_path / "out"), "spark")
    assert (scored.job["quarantined"], scored.job["reasons"]) == (3, {"V9 is missing": 3})
    assert len(read_output(tmp_path / "out")) == ROWS - 3


def test_what_an_executor_finds_is_one_message(
    spark: Any, settings: PipelineSettings, frame: pd.DataFrame, tmp_path: Path
) -> None:
    table = pa.Table.from_pandas(frame.assign(V3=frame["V3"] > 0), preserve_index=False)
    lists = pa.array([[1.0]] * ROWS)
    pq.write_table(table.set_column(table.schema.get_field_index("V3"), "V3", lists), tmp_path / "odd.parquet")
    with pytest.raises(InvalidInput, match="Column V3 holds list"):
        score(settings, str(tmp_path / "odd.parquet"), str(tmp_path / "out"), "spark")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def cluster(settings: PipelineSettings) -> PipelineSettings:
    """Settings of a cluster of two executors with processes of their own; the shared session makes room."""
    if shutil.which("java") is None:
        missing("java")
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        running.stop()
    return settings.model_copy(update={"spark_master": "local-cluster[2,1,1024]"})


def executors() -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # one that has just ended
            if "CoarseGrainedExecutorBackend" in " ".join(each.cmdline()):
                found.append(each)
    return found


def test_an_executor_is_killed_in_the_middle(
    cluster: PipelineSettings, bundle: Bundle, frame: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    copies = 3
    data, out = tmp_path / "month.parquet", tmp_path / "out"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(pa.concat_tables([table] * copies), data, row_group_size=100)
    killed: list[int] = []

    def kill() -> None:
        receipts = tmp_path / ".out.scoring" / RECEIPTS
        while not receipts.is_dir() or len(list(receipts.iterdir())) < 4:
            time.sleep(0.01)
        victim = executors()[0]
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(len(list(receipts.iterdir())))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    scored = score(cluster, str(data), str(out), "spark")
    killer.join(60)
    assert killed, "nothing was killed"
    assert killed[0] < scored.job["parts"], "it was killed too late"
    assert scored.job["rows"] == ROWS * copies
    assert_equal_scores(read_output(out), pd.concat([expected] * copies, ignore_index=True))
