import gzip
import zipfile

import pandas as pd
import pyarrow as pa
import pytest

from ml_project.errors import InvalidInput
from pipelines.data.files import parse_csv_lines, read_table


def refused(location):
    with pytest.raises(InvalidInput) as caught:
        read_table(str(location))
    assert caught.value.remedy
    assert str(location) in caught.value.cause
    return caught.value.cause


def test_every_kind_of_file_gives_the_same_table(tmp_path, csv, simulated_frame):
    content = csv.read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/book.csv", content)
        archive.writestr("__MACOSX/in/._book.csv", b"shadow")
        archive.writestr("README.txt", b"about")
    expected = simulated_frame.head(50)
    expected.to_parquet(tmp_path / "a.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    expected.iloc[:20].to_parquet(folder / "part-0.parquet")
    expected.iloc[20:].to_parquet(folder / "part-1.parquet")
    (folder / "_SUCCESS").touch()
    for name in (csv, tmp_path / "a.csv.gz", tmp_path / "a.zip", tmp_path / "a.parquet", folder):
        frame = read_table(str(name)).frame
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False, check_exact=True)


def test_original_file_is_read_to_the_last_bit(real_head_path):
    table = read_table(str(real_head_path))
    exact = pd.read_csv(real_head_path, float_precision="round_trip")
    assert len(table.frame) == 7_972
    assert table.header_lines == 1
    pd.testing.assert_frame_equal(table.frame, exact, check_dtype=False, check_exact=True)


def test_missing_and_empty_files(tmp_path):
    assert "no such file" in refused(tmp_path / "none.csv")
    for name in ("a.csv", "a.parquet", "a.zip", "a.csv.gz"):
        (tmp_path / name).touch()
        assert "the file is empty" in refused(tmp_path / name)
    (tmp_path / "blank.csv").write_text("\n\n")
    assert "the file is empty" in refused(tmp_path / "blank.csv")
    (tmp_path / "folder").mkdir()
    assert "without Parquet files" in refused(tmp_path / "folder")


def test_truncated_files(tmp_path, csv, simulated_frame):
    simulated_frame.to_parquet(tmp_path / "whole.parquet")
    for name, content in (
        ("cut.parquet", (tmp_path / "whole.parquet").read_bytes()[:-100]),
        ("cut.csv.gz", gzip.compress(csv.read_bytes())[:-200]),
        ("cut.zip", b"PK\x03\x04 and no more"),
        ("text.csv.gz", b"not packed"),
    ):
        (tmp_path / name).write_bytes(content)
        cause = refused(tmp_path / name)
        assert "not a complete Parquet file" in cause or "damaged or incomplete archive" in cause
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "cut.parquet").rename(folder / "part-0.parquet")
    with pytest.raises(InvalidInput, match=r"part-0\.parquet: not a complete Parquet file"):
        read_table(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Time,Größe\n1,2\n".encode("latin-1"), "not UTF-8 text (at byte 7)"),
        ("Time,V1\n1,2\n".encode("utf-16"), "not UTF-8 text (at byte 0)"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text (at byte 0)"),
        (b"Time,V1\n1,2\n1,2,3\n", "not a table (Error tokenizing data. C error: Expected 2 fields in line 3, saw 3)"),
    ],
)
def test_text_that_is_no_table(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert message in refused(path)


def test_text_in_a_number_is_left_to_cleaning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Time,V1\n1,2\n2,abc\n")
    assert read_table(str(path)).frame["V1"].tolist() == ["2", "abc"]


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"]])
def test_archives_must_hold_one_csv(tmp_path, names):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "")
        for name in names:
            archive.writestr(name, "Time\n1\n")
    assert ("2 CSV files in the archive" if names else "no CSV file in the archive") in refused(path)


def test_other_kinds_are_named(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    assert "not a kind of file that is understood" in refused(tmp_path / "a.xlsx")
    assert "not supported" in refused("gs://bucket/a.parquet")


def test_lines_of_a_csv_are_rows_whatever_they_hold():
    broken = []

    def refuse(line):
        broken.append((line.number, line.expected_columns, line.actual_columns))
        return "skip"

    types = {"Time": pa.float64(), "name": pa.string()}
    lines = b'0.1,a,NA\n,b,\n1,2\n3,c,"x,y"\n'
    table = parse_csv_lines(lines, ("Time", "other", "name"), types, refuse)
    assert table.to_pydict() == {"Time": [0.1, None, 3.0], "name": ["NA", None, "x,y"]}
    assert broken == [(3, 3, 2)]
    with pytest.raises(pa.ArrowInvalid):
        parse_csv_lines(b"one,b,c\n", ("Time", "other", "name"), types)
