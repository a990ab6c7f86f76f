from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_project.errors import InvalidInput
from pipelines.scoring.parts import read_part
from pipelines.scoring.plan import ScoringPlan, make_plan, open_place


def plan_of(data: Path, part_rows: int = 0) -> ScoringPlan:
    return make_plan(str(data), "out", 1, "digest", "", part_rows)


def cut(plan: ScoringPlan) -> list[tuple[int, int, int, int, int]]:
    return [(part.first_row, part.rows, part.begin, part.end, part.skip) for part in plan.parts]


def rows_read(plan: ScoringPlan, folder: Path) -> list[str]:
    place = open_place(str(folder), "")
    found = []
    for part in plan.parts:
        for rows in read_part(plan, part, place):
            assert len(rows.places) == len(rows.batch)
            found += rows.batch.column("transaction_id").to_pylist()
    return found


@pytest.mark.parametrize("part_rows", [200, 333, 500, 700, 1_000, 5_000])
def test_parts_cover_every_row_once(parquet: Path, frame: pd.DataFrame, part_rows: int) -> None:
    plan = plan_of(parquet, part_rows)
    assert plan.rows == len(frame)
    assert rows_read(plan, parquet.parent) == frame["transaction_id"].tolist()


def test_small_row_groups_are_put_together_and_large_ones_cut(parquet: Path, frame: pd.DataFrame) -> None:
    assert cut(plan_of(parquet, 1_200)) == [(0, 1_000, 0, 2, 0), (1_000, 1_000, 2, 4, 0), (2_000, 1_000, 4, 6, 0)]
    pq.write_table(pa.Table.from_pandas(frame), parquet, row_group_size=5_000)
    assert cut(plan_of(parquet, 1_500)) == [(0, 1_500, 0, 1, 0), (1_500, 1_500, 0, 1, 1_500)]
    assert len(plan_of(parquet, 10).parts) == 8, "each part reads past the rows before it: there is a limit"


@pytest.mark.parametrize("part_rows", [1, 7, 2_999, 3_000, 3_001])
@pytest.mark.parametrize("last", ["\n", ""])
def test_csv_is_cut_between_lines(frame: pd.DataFrame, tmp_path: Path, part_rows: int, last: str) -> None:
    few = frame.head(20) if part_rows < 10 else frame
    path = tmp_path / "month.csv"
    path.write_text(few.to_csv(index=False).rstrip("\n") + last)
    plan = plan_of(path, part_rows)
    assert [part.rows for part in plan.parts][:-1] == [part_rows] * (len(plan.parts) - 1)
    assert rows_read(plan, tmp_path) == few["transaction_id"].tolist()


def test_other_contents_are_another_job(parquet: Path, frame: pd.DataFrame) -> None:
    first = plan_of(parquet).fingerprint
    assert plan_of(parquet).fingerprint == first
    pq.write_table(pa.Table.from_pandas(frame.assign(V3=frame["V3"] + 1), preserve_index=False), parquet)
    assert plan_of(parquet).fingerprint != first
    assert make_plan(str(parquet), "out", 2, "digest", "").fingerprint != plan_of(parquet).fingerprint


def test_marks_of_other_writers_are_no_input(parquet: Path, tmp_path: Path) -> None:
    for name in ("_SUCCESS", "_temporary/part-0.parquet", ".month.parquet.crc", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [file.name for file in plan_of(tmp_path).files] == ["month.parquet"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "no Parquet or CSV file"),
        (lambda path: path.write_bytes(b"PAR1 and no more"), "not a complete Parquet file"),
        (lambda path: pd.DataFrame({"Time": [1.0]}).to_parquet(path), "missing column V1, V2"),
    ],
)
def test_what_cannot_be_scored_is_named(parquet: Path, spoil: object, words: str) -> None:
    spoil(parquet)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=words):
        plan_of(parquet)
