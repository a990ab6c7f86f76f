import base64
import gzip
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_project.errors import InvalidInput
from ml_project.tables import read_head
from pipelines.data.csv_text import parse_csv_lines
from pipelines.data.files import read_table
from tests.support.creditcard import CREDITCARD
from tests.support.parquet import with_large_page


def refused(location):
    with pytest.raises(InvalidInput) as caught:
        read_table(str(location), CREDITCARD)
    assert caught.value.remedy
    assert str(location) in caught.value.cause
    return caught.value.cause


def test_every_kind_of_file_gives_the_same_table(tmp_path, csv, simulated_frame):
    content = csv.read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/book.csv", content)
        archive.writestr("__MACOSX/in/._book.csv", b"shadow")
        archive.writestr("in/._book.csv", b"a shadow without the folder")
        archive.writestr("README.txt", b"about")
    expected = simulated_frame.head(50)
    expected.to_parquet(tmp_path / "a.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    expected.iloc[:20].to_parquet(folder / "part-0.parquet")
    expected.iloc[20:].to_parquet(folder / "part-1.parquet")
    (folder / "_SUCCESS").touch()
    for name in (csv, tmp_path / "a.csv.gz", tmp_path / "a.zip", tmp_path / "a.parquet", folder):
        frame = read_table(str(name), CREDITCARD).frame
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False, check_exact=True)


def test_original_file_is_read_to_the_last_bit(real_head_path):
    table = read_table(str(real_head_path), CREDITCARD)
    exact = pd.read_csv(real_head_path, float_precision="round_trip")
    assert len(table.frame) == 7_972
    assert [table.place_of(row) for row in (1, 7_972)] == ["line 2", "line 7973"]
    pd.testing.assert_frame_equal(table.frame, exact, check_dtype=False, check_exact=True)


def test_missing_and_empty_files(tmp_path):
    assert "no such file" in refused(tmp_path / "none.csv")
    for name in ("a.csv", "a.parquet", "a.zip", "a.csv.gz"):
        (tmp_path / name).touch()
        assert "the file is empty" in refused(tmp_path / name)
    (tmp_path / "blank.csv").write_text("\n\n")
    assert "blank.csv is empty" in refused(tmp_path / "blank.csv")
    (tmp_path / "folder").mkdir()
    assert "without CSV or Parquet files" in refused(tmp_path / "folder")


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
        read_table(str(folder), CREDITCARD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Time,Größe\n1,2\n".encode("latin-1"), "not UTF-8 text"),
        ("Time,V1\n1,2\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text"),
        (b"Time,V1\n1,2\n1,2,3\n", "line 3 has 3 fields, the header 2"),
    ],
)
def test_text_that_is_no_table(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert message in refused(path)


def test_text_in_a_number_is_left_to_cleaning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Time,V1\n1,2\n2,abc\n")
    assert read_table(str(path), CREDITCARD).frame["V1"].tolist() == ["2", "abc"]


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
    assert "not a supported kind of file" in refused(tmp_path / "a.xlsx")
    assert "not supported" in refused("gs://bucket/a.parquet")


def test_lines_of_a_csv_are_rows_whatever_they_hold():
    broken = []

    def refuse(line):
        broken.append((line.number, line.expected_columns, line.actual_columns))
        return "skip"

    types = {"Time": pa.float64(), "name": pa.string()}
    head = read_head(b"Time,other,name\n", CREDITCARD)
    lines = b'0.1,a,NA\n,b,\n1,2\n3,c,"x,y"\n'
    table = parse_csv_lines(lines, head, types, refuse)
    assert table.to_pydict() == {"Time": [0.1, None, 3.0], "name": ["NA", None, "x,y"]}
    assert broken == [(3, 3, 2)]
    with pytest.raises(pa.ArrowInvalid):
        parse_csv_lines(b"one,b,c\n", head, types)


def as_written(frame, **options):
    return frame.to_csv(index=False, **options)


DIALECTS = {
    "semicolons": lambda frame: as_written(frame, sep=";"),
    "a German Excel": lambda frame: as_written(frame, sep=";", decimal=","),
    "with its separator": lambda frame: "sep=;\r\n" + as_written(frame, sep=";", decimal=",", lineterminator="\r\n"),
    "tabs": lambda frame: as_written(frame, sep="\t"),
    "blanks after commas": lambda frame: as_written(frame).replace(",", ", "),
    "a byte order mark": lambda frame: "\ufeff" + as_written(frame),
    "blank lines": lambda frame: "\n\n" + as_written(frame).replace("\n", "\n\n", 3),
    "quotes": lambda frame: as_written(frame, quoting=1),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_are_read_and_their_faults_have_lines(tmp_path, simulated_frame, dialect):
    expected = simulated_frame.head(20)
    path = tmp_path / "book.csv"
    content = DIALECTS[dialect](expected)
    path.write_bytes(content.encode())
    pd.testing.assert_frame_equal(
        read_table(str(path), CREDITCARD).frame, expected, check_dtype=False, check_exact=True
    )
    lines = content.splitlines(keepends=True)
    lines[12] = lines[12].replace("1", "one", 1)
    path.write_text("".join(lines), encoding="utf-8", newline="")
    table = read_table(str(path), CREDITCARD)
    (spoilt,) = [row for row, values in enumerate(table.frame.astype(str).to_numpy(), 1) if "one" in "".join(values)]
    assert table.place_of(spoilt) == "line 13"


def test_lines_that_are_no_rows_are_named(tmp_path, simulated_frame):
    path = tmp_path / "book.csv"
    lines = simulated_frame.head(5).to_csv(index=False).encode().splitlines()
    for spoilt, said in (
        (lines[3] + b",1", "line 5 has 32 fields"),
        (b"\xe9", "line 5 is not UTF-8"),
        (b'"1', "line 5"),
    ):
        path.write_bytes(b"\n".join([*lines[:3], b"", spoilt, *lines[4:]]))
        assert said in refused(path)


def test_a_column_that_is_there_twice_is_refused_before_anything_is_read(tmp_path, simulated_frame):
    twice = pd.concat([simulated_frame, simulated_frame[["Amount"]]], axis=1)
    twice.to_csv(tmp_path / "a.csv", index=False)
    pq.write_table(
        pa.table(list(pa.table(simulated_frame).columns) * 2, names=[*simulated_frame] * 2), tmp_path / "a.pq"
    )
    assert "column Amount appears twice" in refused(tmp_path / "a.csv")
    assert "column Time appears twice" in refused(tmp_path / "a.pq")


def test_a_folder_is_all_that_lies_below_it(tmp_path, simulated_frame):
    parts = {
        "Class=0/day=2026-01-02/a.PARQUET": simulated_frame[simulated_frame.Class == 0],
        "Class=1/b.pq": simulated_frame[simulated_frame.Class == 1].head(10),
        "Class=1/c.CSV": simulated_frame[simulated_frame.Class == 1].tail(-10),
    }
    for name, frame in parts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        without = frame.drop(columns="Class")
        without.to_csv(tmp_path / name, index=False) if name.endswith("CSV") else without.to_parquet(tmp_path / name)
    for shadow in ("Class=1/._b.pq", "_temporary/d.parquet", ".staging/e.parquet", "notes.txt"):
        (tmp_path / shadow).parent.mkdir(exist_ok=True)
        (tmp_path / shadow).write_bytes(b"none of the data")
    table = read_table(str(tmp_path), CREDITCARD)
    expected = pd.concat(parts.values(), ignore_index=True)
    pd.testing.assert_frame_equal(table.frame.astype({"Class": int}), expected, check_dtype=False)
    legitimate = len(parts["Class=0/day=2026-01-02/a.PARQUET"])
    assert table.place_of(legitimate + 1) == "Class=1/b.pq, row 1"
    assert table.place_of(legitimate + 12) == "Class=1/c.CSV, line 3"


def test_a_file_that_lacks_a_column_of_the_others_is_named(tmp_path, simulated_frame):
    simulated_frame.head(20).to_parquet(tmp_path / "a.parquet")
    simulated_frame.tail(20).drop(columns="V7").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InvalidInput, match=r"b\.parquet: missing column V7, which a\.parquet has"):
        read_table(str(tmp_path), CREDITCARD)


def test_parquet_of_any_writer_is_the_same_table(tmp_path, simulated_frame):
    """Categories of pandas, views of Polars, and the index that pandas adds."""
    coded = simulated_frame.astype({"Class": "category"}).sample(frac=1.0, random_state=1).sort_index()
    coded.index = coded.index + 5
    coded.to_parquet(tmp_path / "pandas.parquet")
    bare = pq.read_table(tmp_path / "pandas.parquet").replace_schema_metadata(None)
    assert "__index_level_0__" in bare.column_names
    pq.write_table(bare, tmp_path / "bare.parquet")
    times = pa.array(["2026-01-02T03:04:05Z"] * 500, pa.string_view())
    pq.write_table(pa.table(simulated_frame).append_column("event_time", times), tmp_path / "views.parquet")
    for name in ("pandas", "bare", "views"):
        frame = read_table(str(tmp_path / f"{name}.parquet"), CREDITCARD).frame
        pd.testing.assert_frame_equal(frame[[*simulated_frame]], simulated_frame, check_dtype=False)
    assert frame["event_time"].tolist() == ["2026-01-02T03:04:05Z"] * 500


def with_zone(path, table, zone):
    """A Parquet file whose times are of a zone that Arrow would not write, as other writers do, and damage."""
    stand_in = "Z" * len(zone)
    column = pa.array([1_700_000_000_000_000] * len(table), pa.timestamp("us", stand_in))
    pq.write_table(table.append_column("event_time", column), path)
    kept = pq.read_metadata(path).metadata[b"ARROW:schema"]
    named = base64.b64decode(kept).replace(stand_in.encode(), zone)
    path.write_bytes(path.read_bytes().replace(kept, base64.b64encode(named)))


@pytest.mark.parametrize("zone", [b"W. Europe Standard Time", b"+99:99", b"../../etc", b"\xff\xfe"])
def test_moments_are_the_same_under_a_zone_that_has_no_rules(tmp_path, simulated_frame, zone):
    with_zone(tmp_path / "a.parquet", pa.table(simulated_frame.head(20)), zone)
    frame = read_table(str(tmp_path / "a.parquet"), CREDITCARD).frame
    assert frame["event_time"].tolist() == [pd.Timestamp("2023-11-14T22:13:20Z")] * 20


@pytest.mark.parametrize(
    "noted", [b"[]", b"{", b"\xff", b'{"index_columns": 5}', b'{"index_columns": [{"kind": "range"}]}']
)
def test_what_pandas_noted_may_be_anything(tmp_path, simulated_frame, noted):
    table = pa.table(simulated_frame.head(20)).replace_schema_metadata({b"pandas": noted})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(read_table(str(tmp_path / "a.parquet"), CREDITCARD).frame) == 20


@pytest.mark.parametrize("kind", ["zip", "csv.gz"])
def test_a_small_archive_cannot_fill_the_memory(tmp_path, kind):
    """A megabyte of a thousand megabytes: refused when a hundred are unpacked, or before."""
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as member:
            member.write(b"Time\n")
            for _ in range(64):
                member.write(b"1\n" * 2**19)
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(b"Time\n")
            for _ in range(64):
                file.write(b"1\n" * 2**19)
    assert path.stat().st_size < 2**19
    assert "it has more than" in refused(path)


def test_a_table_larger_than_is_allowed_is_refused(tmp_path, simulated_frame):
    simulated_frame.to_parquet(tmp_path / "a.parquet")
    simulated_frame.to_csv(tmp_path / "a.csv", index=False)
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(InvalidInput, match="it has more than 0 MB, unpacked"):
            read_table(str(tmp_path / name), CREDITCARD, most_bytes=100_000)
        assert len(read_table(str(tmp_path / name), CREDITCARD, most_bytes=10**6).frame) == 500


def test_a_page_that_would_fill_the_memory_is_refused(tmp_path, simulated_frame):
    path = tmp_path / "a.parquet"
    simulated_frame.to_parquet(path, use_dictionary=False)
    path.write_bytes(with_large_page(path.read_bytes(), "V7"))
    assert "its pages say that they take 2,1" in refused(path)


def test_few_bytes_of_parquet_cannot_fill_the_memory(tmp_path, simulated_frame):
    """A text that is in the file once and in every row; values of which there is one."""
    path = tmp_path / "a.parquet"
    simulated_frame.assign(transaction_id="x" * 600_000).to_parquet(path)
    assert path.stat().st_size < 200_000
    assert "it has more than 256 MB, unpacked" in refused(path)
    rows = pa.table(dict.fromkeys(simulated_frame, np.zeros(100_000)))
    with pq.ParquetWriter(path, rows.schema, write_statistics=False) as writer:
        for _ in range(12):
            writer.write_table(rows)
    assert path.stat().st_size < 2_000_000
    assert "it has more than 256 MB, unpacked" in refused(path)
