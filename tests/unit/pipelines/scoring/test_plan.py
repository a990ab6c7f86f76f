from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_project.errors import InvalidInput
from pipelines.data.places import open_place
from pipelines.scoring.parts import read_part
from pipelines.scoring.plan import ScoringPlan, make_plan
from tests.support.creditcard import CREDITCARD
from tests.support.parquet import with_large_page


def plan_of(data: Path, part_rows: int = 0) -> ScoringPlan:
    return make_plan(str(data), "out", 1, "digest", CREDITCARD, "", part_rows)


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
    assert make_plan(str(parquet), "out", 2, "digest", CREDITCARD, "").fingerprint != plan_of(parquet).fingerprint


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
        (lambda path: overwrite(path, slice(-300, -8)), "not a complete Parquet file"),
        (lambda path: pd.DataFrame({"Time": [1.0]}).to_parquet(path), "missing column V1, V2"),
    ],
)
def test_what_cannot_be_scored_is_named(parquet: Path, spoil: object, words: str) -> None:
    spoil(parquet)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=words):
        plan_of(parquet)


def overwrite(path: Path, where: slice) -> None:
    content = bytearray(path.read_bytes())
    content[where] = b"\xff" * len(content[where])
    path.write_bytes(content)


def test_damage_within_a_file_is_named(parquet: Path, tmp_path: Path) -> None:
    overwrite(parquet, slice(200, 700))
    with pytest.raises(InvalidInput, match=r"month\.parquet can no longer be read \(.+\)\. Copy or write it again"):
        rows_read(plan_of(parquet), tmp_path)
    overwrite(parquet, slice(4, 20))
    with pytest.raises(InvalidInput, match=r"month\.parquet: not a complete Parquet file \(.+'Time' has no header\)"):
        rows_read(plan_of(parquet), tmp_path)


def test_a_page_that_would_fill_the_memory_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "month.parquet"
    frame.to_parquet(path, use_dictionary=False)
    path.write_bytes(with_large_page(path.read_bytes(), "V7"))
    with pytest.raises(InvalidInput, match=r"month\.parquet: its pages say .* most of them in the column 'V7'"):
        rows_read(plan_of(path), tmp_path)
    frame.assign(hybrid_score=1.5).to_parquet(path, use_dictionary=False)
    path.write_bytes(with_large_page(path.read_bytes(), "hybrid_score"))
    assert len(rows_read(plan_of(path), tmp_path)) == len(frame), "a column that is not read does no harm"


def test_a_text_that_every_row_shows_cannot_fill_the_memory(frame: pd.DataFrame, tmp_path: Path) -> None:
    """A few hundred kilobytes, of which 3,000 rows would make 300 MB."""
    path = tmp_path / "month.parquet"
    frame.assign(note="x" * 100_000).to_parquet(path)
    with pytest.raises(InvalidInput, match="3000 rows of the column 'note' have 300,000,000 bytes of text"):
        rows_read(plan_of(path), tmp_path)
    frame.assign(note="x" * 40_000).head(1_000).to_parquet(path)
    assert len(rows_read(plan_of(path), tmp_path)) == 1_000


def test_a_column_that_is_there_twice_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    twice = pd.concat([frame[["Amount"]] + 1, frame], axis=1)
    twice.to_csv(tmp_path / "a.csv", index=False)
    columns = [*frame, "Class"]
    pq.write_table(pa.table([frame[name] for name in columns], names=columns), tmp_path / "a.parquet")
    for name, column in (("a.csv", "Amount"), ("a.parquet", "Class")):
        with pytest.raises(InvalidInput, match=f"{name}: column {column} appears twice"):
            plan_of(tmp_path / name)


def test_csv_that_is_not_utf8_is_refused_by_its_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = frame.assign(merchant="Bäcker").head(5).to_csv(index=False)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(InvalidInput, match=r"a\.csv is UTF-16, not UTF-8"):
        plan_of(path)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"a\.csv: line 2 is not UTF-8 text"):
        plan_of(path)
    path.write_bytes(text.encode()[:-1] + "ä".encode()[:1])
    with pytest.raises(InvalidInput, match=r"a\.csv: line 6 is not UTF-8 text"):
        plan_of(path)


def test_names_that_are_nearly_right_are_told(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.rename(columns=str.lower).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInput, match=r"missing column Time, V1, .* It has 'time': Write it Time"):
        plan_of(tmp_path / "a.csv")


def test_an_archive_is_not_read_in_parts(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"x")
    with pytest.raises(InvalidInput, match=r"which an archive does not have\. Unpack it"):
        plan_of(tmp_path / "a.csv.gz")


TEXTS = [
    *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())),
    *(pa.binary(), pa.large_binary(), pa.binary_view()),
]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_long_text_has_the_type_of_short(frame: pd.DataFrame, tmp_path: Path, kind: pa.DataType) -> None:
    """The output's files are one table."""
    kinds = []
    for length in (5, 20_000):
        text = pa.array(["x" * length, None] * 20, pa.string())
        column = text.dictionary_encode() if pa.types.is_dictionary(kind) else text.cast(kind)
        pq.write_table(pa.table(frame.head(40)).append_column("note", column), tmp_path / "a.parquet")
        plan = plan_of(tmp_path / "a.parquet")
        [rows] = read_part(plan, plan.parts[0], open_place(str(tmp_path), ""))
        assert rows.batch["note"].cast(pa.string()).to_pylist() == text.to_pylist()
        kinds.append(rows.batch["note"].type)
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.large_string()])
def test_text_of_every_kind_is_carried(frame: pd.DataFrame, tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.Table.from_pandas(frame.head(50).set_index(pd.RangeIndex(5, 105, 2)))
    place = table.column_names.index("transaction_id")
    column = pa.chunked_array([chunk.cast(kind) for chunk in table["transaction_id"].chunks])
    pq.write_table(table.set_column(place, "transaction_id", column), tmp_path / "a.PARQUET")
    plan = plan_of(tmp_path / "a.PARQUET")
    assert plan.carried == ("Time", "Amount", "transaction_id", "Class")
    assert rows_read(plan, tmp_path) == frame["transaction_id"].head(50).tolist()
