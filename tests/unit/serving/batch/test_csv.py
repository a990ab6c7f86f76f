"""Whatever a CSV holds, good rows are read as they are and bad ones are named by their lines."""

import csv
import io
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_project.contract_parts import MAX_MAGNITUDE
from serving.batch import CHUNK_ROWS
from serving.batch import csv as csv_records
from serving.batch.csv import blocks, read_csv
from serving.errors import InvalidFields, MalformedFile
from tests.support.creditcard import CREDITCARD, RAW_FEATURES

HEADER = ",".join(RAW_FEATURES)
GOOD = ",".join(str(float(place)) for place in range(30))


def read(text: str | bytes) -> tuple[list[list[float]], list[str | None], list[int], list[tuple]]:
    """Values, names, lines, and the faults as (line, field, message)."""
    chunks = list(read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text), CREDITCARD))
    return (
        [row for chunk in chunks for row in chunk.transactions.raw.tolist()],
        [name for chunk in chunks for name in chunk.transactions.ids],
        [row for chunk in chunks for row in chunk.rows.tolist()],
        [(e["row"], e.get("field"), e["message"]) for chunk in chunks for e in chunk.errors],
    )


def with_v1(value: str) -> str:
    cells = GOOD.split(",")
    cells[1] = value
    return ",".join(cells)


numbers = st.floats(-MAX_MAGNITUDE, MAX_MAGNITUDE)


@given(st.lists(numbers, min_size=28, max_size=28), st.randoms(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_numbers_come_back_in_any_order_of_columns(values, order: random.Random, newline, quoted) -> None:
    row = dict(zip(RAW_FEATURES, [0.0, *values, 12.5], strict=True))
    names = [*RAW_FEATURES]
    order.shuffle(names)
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator=newline, quoting=quoting).writerows([names, [row[name] for name in names]])
    assert read(text.getvalue()) == ([list(row.values())], [None], [2], [])


def test_names_ignored_columns_byte_order_mark_and_no_last_line_end() -> None:
    header = f'\ufeff"transaction_id",{HEADER},"Class",max_abs_v'
    text = f'{header}\ntx-1,{GOOD},"0",x\n"tx,""2""",{GOOD},"1",\n,{GOOD},,'
    raw, ids, rows, errors = read(text)
    assert raw == [[float(place) for place in range(30)]] * 3
    assert (ids, rows, errors) == (["tx-1", 'tx,"2"', None], [2, 3, 4], [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "Input should be a finite number"),
        ("x", "Input should be a finite number"),
        ("nan", "Input should be a finite number"),
        ("inf", "Input should be a finite number"),
        ("1_000", "Input should be a finite number"),
        ("1e999", "Input should be a finite number"),
        ("0x10", "Input should be a finite number"),
        ("1e16", "Input should be at most 1e+15 in size"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_field(value, message) -> None:
    raw, _, rows, errors = read("\n".join([HEADER, GOOD, with_v1(value), GOOD]))
    assert errors == [(3, "V1", message)]
    assert rows == [2, 4]
    assert len(raw) == 2


@pytest.mark.parametrize("value", ["+1.5", " 1.5", "1.5 ", "15e-1", "1.5E0", '"1.5"'])
@pytest.mark.parametrize("neighbour", [GOOD, with_v1("x")])
def test_a_good_cell_is_good_beside_a_bad_row(value, neighbour) -> None:
    raw, _, rows, _ = read("\n".join([HEADER, neighbour, with_v1(value)]))
    assert raw[-1][1] == 1.5
    assert rows[-1] == 3


@given(st.text("0123456789.eE+-xnaif _", max_size=8))
def test_no_cells_fate_depends_on_its_neighbours(value) -> None:
    alone = read(f"{HEADER}\n{with_v1(value)}\n")
    beside = read(f"{HEADER}\n{with_v1(value)}\n{with_v1('x')}\n")
    assert beside[0] == alone[0]
    assert all(math.isfinite(row[1]) for row in alone[0])
    assert [error for error in beside[3] if error[0] == 2] == alone[3]


def test_negative_amounts_and_times() -> None:
    cells = GOOD.split(",")
    cells[0], cells[-1] = "-1", "-0.01"
    message = "Input should be greater than or equal to 0"
    assert read(f"{HEADER}\n{','.join(cells)}")[3] == [(2, "Time", message), (2, "Amount", message)]


def test_lines_are_counted_through_quoted_line_ends_and_empty_lines() -> None:
    header = f"transaction_id,{HEADER}"
    text = f'{header}\n"two\nlines",{GOOD}\n\n\nb,{with_v1("x")}\n"c\n\n\nd",{with_v1("y")}\ne,{GOOD}\nf,1,2\n'
    _, ids, rows, errors = read(text)
    assert ids == ["two\nlines", "e"]
    assert rows == [2, 11]
    assert errors == [
        (6, "V1", "Input should be a finite number"),
        (7, "V1", "Input should be a finite number"),
        (12, None, "Expected 31 cells, found 3"),
    ]


def test_quotes_that_nobody_closes_cost_one_row_each() -> None:
    header = f"transaction_id,{HEADER}"
    lines = [f"tx{place},{GOOD}" for place in range(40)]
    lines[7], lines[30] = f'"tx7,{GOOD}', f'"tx30,{GOOD}'
    _, ids, _, errors = read("\n".join([header, *lines]))
    assert [error[0] for error in errors] == [9, 32]
    assert ids == [f"tx{place}" for place in range(40) if place not in (7, 30)]


def test_text_that_is_not_utf8() -> None:
    header = f"transaction_id,{HEADER}\n".encode()
    _, ids, _, errors = read(header + f"ä,{GOOD}\n".encode() + b"\xe4," + GOOD.encode() + f"\nö,{GOOD}".encode())
    assert ids == ["ä", "ö"]
    assert errors == [(3, None, "Not UTF-8")]


def test_names_have_an_end() -> None:
    _, ids, _, errors = read(f"transaction_id,{HEADER}\n{'x' * 65},{GOOD}\n{'ä' * 64},{GOOD}")
    assert ids == ["ä" * 64]
    assert errors == [(2, "transaction_id", "Name should have at most 64 characters, and no NUL")]


def test_a_header_names_what_is_wrong_with_it() -> None:
    with pytest.raises(InvalidFields) as refused:
        read(HEADER.replace("V7", "v7") + ",Amount\n")
    assert refused.value.errors == [
        {"field": "V7", "message": "Column required"},
        {"field": "v7", "message": "Unknown column. Write it V7."},
        {"field": "Amount", "message": "Column given more than once"},
    ]


def test_a_name_that_no_database_holds_is_its_rows_error() -> None:
    raw, _ids, rows, errors = read(f"transaction_id,{HEADER}\ntx-1,{GOOD}\nt\0x,{GOOD}\n")
    assert (len(raw), rows) == (1, [2])
    assert errors == [(3, "transaction_id", "Name should have at most 64 characters, and no NUL")]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00"])
def test_no_header(content) -> None:
    with pytest.raises(MalformedFile):
        read(content)


def test_a_header_alone_has_no_rows() -> None:
    assert read(HEADER) == read(HEADER + "\n") == ([], [], [], [])


@given(st.text('ab,"\n\r', max_size=60), st.integers(1, 6), st.integers(8, 20))
@example('\naaaaaa"\na', 2, 8)
def test_blocks_are_the_file_and_lines_add_up(text, rows, size) -> None:
    content = text.encode()
    found = list(blocks(io.BytesIO(content), 5, rows, size))
    assert b"".join(line for block in found for line in block.lines) == content
    for place, block in enumerate(found):
        assert block.line == 5 + sum(len(before.lines) for before in found[:place])
        assert 0 < len(block.lines) <= rows
        # the line that fills a block may be of an open record, with which the next block begins
        assert sum(map(len, block.lines[:-1])) < size + max(map(len, block.lines))


def test_a_line_has_an_end() -> None:
    with pytest.raises(MalformedFile, match="Line 3 is longer than 65536 bytes"):
        read(f"{HEADER}\n{GOOD}\n{'x' * 70_000},{GOOD}")


def test_small_blocks_give_the_same_rows(monkeypatch) -> None:
    rows = np.random.default_rng(0).uniform(0, 9, (300, 30)).round(3)
    text = "\n".join([f"transaction_id,{HEADER}", *(f'"t\n{i}",' + ",".join(map(str, r)) for i, r in enumerate(rows))])
    whole = read(text)
    monkeypatch.setattr(csv_records.blocks, "__defaults__", (CHUNK_ROWS, 1_000))
    assert read(text) == whole
    monkeypatch.setattr(csv_records.blocks, "__defaults__", (3, 1_000_000))
    assert read(text) == whole
    assert whole[0] == rows.tolist()
    assert whole[2] == list(range(2, 602, 2))


READER = csv.reader


class CountedReader:
    """Stands in for csv.reader and counts the lines that it is given."""

    def __init__(self) -> None:
        self.lines = 0

    def __call__(self, lines: Sequence[str], **options: Any) -> Any:
        self.lines += len(lines)
        return READER(lines, **options)


@pytest.mark.parametrize("line", ['x","', '"', 'x,"y', '"a""', '""","', '"x\ny', '"a\nb\nc"d', ',"'])
def test_no_quotes_make_it_read_a_line_again_and_again(monkeypatch, line) -> None:
    counted = CountedReader()
    monkeypatch.setattr(csv_records.csv, "reader", counted)
    text = f"{HEADER}\n" + f"{line}\n" * 20_000
    chunks = list(read_csv(io.BytesIO(text.encode()), CREDITCARD))
    assert not any(len(chunk.rows) for chunk in chunks)
    assert counted.lines <= 3 * text.count("\n")


def test_faults_are_counted_before_they_are_told() -> None:
    text = f"{HEADER}\n" + ("," * 29 + "\n") * 20_000
    chunks = list(read_csv(io.BytesIO(text.encode()), CREDITCARD))
    assert all(len(chunk.errors) <= 11 * CHUNK_ROWS for chunk in chunks)
    told = [error for error in chunks[0].errors if error["row"] == 2]
    assert [error.get("field") for error in told] == [*RAW_FEATURES[:10], None]
    assert told[-1] == {"row": 2, "message": "20 more fields are missing or invalid"}


def rewritten(text: str, separator: str, decimal: str) -> str:
    return "\n".join(
        separator.join(cell.replace(".", decimal) for cell in line.split(",")) for line in text.split("\n")
    )


@pytest.mark.parametrize(("separator", "decimal"), [(";", "."), (";", ","), ("\t", ","), ("|", ".")])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n \r\n"])
def test_other_separators_and_decimal_commas(separator, decimal, start) -> None:
    text = "\n".join([HEADER, with_v1("1.25"), "", with_v1("x"), with_v1("-15e-1"), with_v1("1" + decimal + "5")])
    plain = read(start + text.replace("1,5", "1.5"))
    assert [row[1] for row in plain[0]] == [1.25, -1.5, 1.5]
    assert read(start + rewritten(text.replace("1,5", "1.5"), separator, decimal)) == plain


def test_excels_line_that_names_the_separator() -> None:
    assert read("sep=;\n" + rewritten(f"{HEADER}\n{GOOD}", ";", "."))[2] == [3]


def test_points_and_commas_are_not_mixed() -> None:
    german = rewritten("\n".join([HEADER, with_v1("1.25"), with_v1("2.5")]), ";", ",").replace("2,5", "2.5")
    _, _, rows, errors = read(german)
    assert (rows, errors) == ([2], [(3, "V1", "Input should be a finite number")])


@given(st.text("0123456789,.eE+-x ", max_size=8))
def test_no_cells_fate_depends_on_its_neighbours_with_decimal_commas_either(value) -> None:
    first = rewritten(f"{HEADER}\n{with_v1('1.25')}", ";", ",")
    row, bad = (rewritten(with_v1("?"), ";", ",").replace("?", cell) for cell in (value, "x"))
    alone, beside = read(f"{first}\n{row}\n"), read(f"{first}\n{row}\n{bad}\n")
    assert beside[0] == alone[0]
    assert [error for error in beside[3] if error[0] == 3] == alone[3]
