"""A job that was killed is continued where it stopped, and no row is lost or doubled."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from ml_project.scorer import Scorer
from pipelines.data.places import open_place
from pipelines.scoring.engines import run_local
from pipelines.scoring.output import LocalOutput
from pipelines.scoring.parts import receipt_name, score_part
from pipelines.scoring.plan import ScoringPlan, make_plan
from pipelines.scoring.rows import RowScorer
from tests.support.creditcard import CREDITCARD
from tests.unit.pipelines.scoring.conftest import ROWS, assert_equal_scores, read_output

ROOT = Path(__file__).resolve().parents[4]

_SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from ml_project.scorer import load_scorer
from pipelines.scoring.engines import run_local
from pipelines.scoring.output import LocalOutput
from pipelines.data.places import open_place
from pipelines.scoring.plan import make_plan
from pipelines.scoring.rows import RowScorer

data, out, bundle = map(Path, sys.argv[1:])
scorer = load_scorer(bundle, threads=1)
plan = make_plan(str(data), str(out), 1, scorer.bundle.digest, scorer.bundle.manifest.contract, "", 100)
output = LocalOutput(out)
with output.alone():
    output.begin(plan)
    rows = RowScorer(scorer, 1, plan.carried)
    source = open_place(str(data.parent), "")
    for receipt in run_local(plan, plan.parts, rows, source, output.staging, lambda _: time.sleep(.2)):
        print(receipt.part, flush=True)
"""


@pytest.fixture
def plan(parquet: Path, bundle: Bundle, tmp_path: Path) -> ScoringPlan:
    """Thirty parts."""
    return make_plan(str(parquet), str(tmp_path / "out"), 1, bundle.digest, CREDITCARD, "", 100)


@pytest.fixture
def rows(small_scorer: Scorer, plan: ScoringPlan) -> RowScorer:
    return RowScorer(small_scorer, 1, plan.carried)


def test_kill_9_in_the_middle(
    plan: ScoringPlan, rows: RowScorer, parquet: Path, bundle_folder: Path, expected: pd.DataFrame, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _SLOW.format(root=str(ROOT)), str(parquet), str(tmp_path / "out")]
    process = subprocess.Popen([*command, str(bundle_folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "out").exists(), "half an output is none"

    output = LocalOutput(tmp_path / "out")
    with output.alone():
        assert output.begin(plan), "the same job goes on"
        held = {name: output.staging.read(name) for name in output.staging.names()}
        done = [part for part in plan.parts if receipt_name(part) in held]
        todo = [part for part in plan.parts if receipt_name(part) not in held]
        assert 5 <= len(done) < 30
        times = {part: (tmp_path / ".out.scoring" / receipt_name(part)).stat().st_mtime_ns for part in done}
        for _receipt in run_local(
            plan, todo, rows, open_place(str(parquet.parent), ""), output.staging, lambda _: None
        ):
            pass
        for part, then in times.items():
            assert (tmp_path / ".out.scoring" / receipt_name(part)).stat().st_mtime_ns == then
        output.commit({"fingerprint": plan.fingerprint})
    assert_equal_scores(read_output(tmp_path / "out"), expected)
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == []


def test_a_part_scored_twice_is_there_once(plan: ScoringPlan, rows: RowScorer, parquet: Path, tmp_path: Path) -> None:
    source, staging = open_place(str(parquet.parent), ""), open_place(str(tmp_path / "staging"), "")
    score_part(plan, plan.parts[3], rows, source, staging)
    content = {name: staging.read(name) for name in staging.names()}
    score_part(plan, plan.parts[3], rows, source, staging)
    assert {name: staging.read(name) for name in staging.names()} == content


def test_another_job_takes_the_unfinished_ones_place(
    plan: ScoringPlan, rows: RowScorer, parquet: Path, tmp_path: Path
) -> None:
    output = LocalOutput(tmp_path / "out")
    with output.alone():
        output.begin(plan)
        score_part(plan, plan.parts[0], rows, open_place(str(parquet.parent), ""), output.staging)
    other = make_plan(str(parquet), str(tmp_path / "out"), 2, plan.bundle_digest, CREDITCARD, "", 100)
    with output.alone():
        assert not output.begin(other)
        assert output.staging.names() == ["_started.json"]


def test_an_input_that_changes_meanwhile_is_no_output(
    plan: ScoringPlan, rows: RowScorer, parquet: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.head(50).to_parquet(parquet)
    staging = open_place(str(tmp_path / "staging"), "")
    with pytest.raises(InvalidInput, match=r"month\.parquet can no longer be read|rows"):
        list(run_local(plan, plan.parts, rows, open_place(str(parquet.parent), ""), staging, lambda _: None))
    assert sum(name.startswith("_receipts/") for name in staging.names()) < ROWS // 100
