"""Text of any Arrow kind is read alike; what a CSV's first lines prove is taken, what they leave open refused."""

import pyarrow as pa
import pytest

from ml_project.errors import InvalidInput
from ml_project.tables import HEAD_BYTES, as_text, column_hint, is_index, is_text, read_head
from tests.support.creditcard import CREDITCARD

STRINGS = (pa.string(), pa.large_string(), pa.string_view())
BYTES = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2))
VALUES = ["ab", None, "é", "zz"]


def text_of(kind: pa.DataType) -> pa.Array:
    return pa.array(VALUES if kind in STRINGS else [value and value.encode() for value in VALUES], kind)


@pytest.mark.parametrize("kind", [*STRINGS, *BYTES], ids=str)
def test_text_of_every_kind(kind) -> None:
    plain = text_of(kind)
    coded = pa.DictionaryArray.from_arrays(pa.array([3, 0, None, 1, 2]), plain)
    assert is_text(plain.type)
    assert is_text(coded.type)
    assert as_text(plain.slice(1)).to_pylist() == VALUES[1:]
    assert as_text(coded.slice(1)).to_pylist() == ["ab", None, None, "é"]
    chunked = as_text(pa.chunked_array([coded, coded]), most_bytes=8)
    assert (chunked.type, len(chunked)) == (pa.string(), 10)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.bool_(), pa.null(), pa.dictionary(pa.int8(), pa.int8())])
def test_what_is_no_text(kind) -> None:
    assert not is_text(kind)


@pytest.mark.parametrize("kind", [*STRINGS, *BYTES], ids=str)
def test_few_bytes_that_many_rows_show_are_counted_for_each_row(kind) -> None:
    """One long text costs a file its length once, and the reader as often as a row shows it."""
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000), text_of(kind))
    assert len(as_text(many, most_bytes=2_000)) == 1_000
    with pytest.raises(InvalidInput, match="1000 rows of a text column have 2000 bytes, more than 1999"):
        as_text(many, most_bytes=1_999)


def test_views_that_share_one_text() -> None:
    shared = pa.array(["x" * 100], pa.string_view())
    buffers = shared.buffers()
    views = pa.py_buffer(buffers[1].to_pybytes() * 1_000)
    many = pa.Array.from_buffers(pa.string_view(), 1_000, [None, views, *buffers[2:]])
    with pytest.raises(InvalidInput, match="have 100000 bytes"):
        as_text(many, most_bytes=99_999)


@pytest.mark.parametrize("kind", [pa.binary(), pa.string()], ids=str)
def test_bytes_that_are_no_text(kind) -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        as_text(pa.array([b"\xff"], pa.binary()).view(kind))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("v12", "Write it V12."),
        (" Amount", "Write it Amount."),
        ("CLASS", "Write it Class."),
        ("", "It may be the row index of pandas: write the file with index=False."),
        ("Unnamed: 0", "It may be the row index of pandas: write the file with index=False."),
        ("__index_level_0__", "It may be the row index of pandas: write the file with index=False."),
        ("V12", ""),
        ("merchant", ""),
    ],
)
def test_what_an_unknown_column_probably_is(name, hint) -> None:
    assert column_hint(name, CREDITCARD) == hint


def test_the_name_that_pandas_reserves() -> None:
    assert is_index("__index_level_0__")
    assert not any(map(is_index, ("", "index", "Unnamed: 0", "Time")))


@pytest.mark.parametrize(
    ("start", "names", "row", "lines", "separator", "decimal"),
    [
        ("Time,V1\n1.5,2\n", ["Time", "V1"], "1.5", 1, ",", "."),
        ("Time,V1", ["Time", "V1"], "", 1, ",", "."),
        ("\ufeffTime,V1\r\n1,2\r\n", ["Time", "V1"], "1", 1, ",", "."),
        ("\n \r\n\nTime,V1\n1,2\n", ["Time", "V1"], "1", 4, ",", "."),
        ('Time , "V1", Amount\n1,2,3\n', ["Time", "V1", "Amount"], "1", 1, ",", "."),
        ("Time;V1;x,y\n1.5;2;3\n", ["Time", "V1", "x,y"], "1.5", 1, ";", "."),
        ("time\tv1\n1,5\t2\n", ["time", "v1"], "1,5", 1, "\t", "."),
        ("Time;V1\n1;2\n1,25;-,5e3\n", ["Time", "V1"], "1;2", 1, ";", ","),
        ('Time,V1\n"1,25",2\n', ["Time", "V1"], '"1', 1, ",", ","),
        ("sep=;\r\nTime;V1\r\n1,2345;2\r\n", ["Time", "V1"], "1,2345", 2, ";", ","),
        ('\ufeff\n"SEP=|"\nTime|V1\n1|2\n', ["Time", "V1"], "1|2", 3, "|", "."),
        ("Time;V1;V2\n1.5;1,25;1,5\n", ["Time", "V1", "V2"], "1.5", 1, ";", ","),
        ("Time;V1;V2\n1.5;1,25;2.5\n", ["Time", "V1", "V2"], "1.5", 1, ";", "."),
        ("card;V1\n1,5;2\n", ["card", "V1"], "1,5", 1, ";", "."),
    ],
)
def test_what_the_first_lines_prove(start, names, row, lines, separator, decimal) -> None:
    content = start.encode()
    head = read_head(content, CREDITCARD)
    assert (head.names, head.lines, head.separator, head.decimal) == (names, lines, separator, decimal)
    assert content[head.size :].startswith(row.encode())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"sep=;\n", "is empty"),
        (b"sep=x\nTime\n", "names 'x' as its separator. Use commas, semicolons, tabs, vertical bars."),
        ("Time,V1\n1,2".encode("utf-16"), "is UTF-16, not UTF-8. Save it as UTF-8 CSV."),
        ("Time,V1\n1,2".encode("utf-16-le"), "not UTF-8 text; it may be UTF-16"),
        ("Zeit,Beträge\n".encode("latin-1"), "not UTF-8 text"),
        (b"Time,V1\r1,2\r3,4", "ends its lines with CR alone"),
        (b"PK\x03\x04...", "a workbook or a zip archive"),
        (b"\x1f\x8b\x08", "compressed by gzip"),
        (b"PAR1...", "is Parquet, not CSV"),
        (b"x" * HEAD_BYTES, "a header of more than 65536 bytes"),
        (b"Time;V1\n1,234;2\n", "comma may separate thousands or decimals. Write numbers with a decimal point"),
    ],
)
def test_what_is_refused_at_once(start, said) -> None:
    with pytest.raises(InvalidInput, match=r"^data\.csv ") as refused:
        read_head(start, CREDITCARD, "data.csv")
    assert said in str(refused.value)
