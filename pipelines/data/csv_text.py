"""CSV in the dialects of `ml_project.tables.read_head`, as tables whose rows know their lines.

Arrow reads fast and rounds numbers right, as a gateway does that reads them as JSON, but does not say where it failed,
nor where a row stands. What it refuses, and what has other lines than rows, is read again record by record.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from numpy.typing import NDArray

from ml_project.cleaning import require_distinct
from ml_project.columns import NO_VALUE
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.tables import HEAD_BYTES, CsvHead, read_head

_CHUNK_ROWS: Final = 50_000
_NEWLINE: Final = b"\n"

OpenFile = Callable[[], AbstractContextManager[IO[bytes]]]


def read_csv(open_file: OpenFile, contract: Contract, name: str) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The table, and the line (from 1) that each of its rows begins at.

    Columns that should hold numbers do, unless a value is none: then they hold what the file says.

    Parameters
    ----------
    open_file : callable
        Opens the unpacked bytes; called more than once.
    contract : Contract
        Says which columns should hold numbers.

    Raises
    ------
    InvalidInput
        When the file is empty, not UTF-8, or not a table, naming the line.
    """
    types = dict.fromkeys(contract.known_columns, pa.string()) | dict.fromkeys(contract.number_columns, pa.float64())
    with open_file() as file:
        start = file.read(HEAD_BYTES)
        head = read_head(start, contract, name)
        require_distinct(head.names, name)
        body = _Body(start[head.size :], file)
        try:
            table = pa.csv.read_csv(
                body,
                pa.csv.ReadOptions(column_names=head.names),
                pa.csv.ParseOptions(delimiter=head.separator),
                pa.csv.ConvertOptions(column_types=types, decimal_point=head.decimal),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            table = None
    if table is not None and body.lines == len(table):
        return _frame(table, contract), np.arange(len(table)) + head.lines + 1
    frame, lines = _read_records(open_file, contract, name, head)
    return (frame if table is None else _frame(table, contract)), lines


def _frame(table: pa.Table, contract: Contract) -> pd.DataFrame:
    moment = contract.event_time
    if moment in table.column_names:
        place = table.column_names.index(moment)
        table = table.set_column(place, moment, pa.compute.utf8_trim_whitespace(table[moment]))
    frame: pd.DataFrame = table.to_pandas()
    return frame


class _Body(io.RawIOBase):
    """The rest of a file, and how many lines of it were read."""

    def __init__(self, start: bytes, file: IO[bytes]) -> None:
        self._start, self._file, self._newlines, self._last = start, file, 0, _NEWLINE

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._start:
            size = len(self._start) if size < 0 else size
            content, self._start = self._start[:size], self._start[size:]
        else:
            content = self._file.read(size)
        self._newlines += content.count(_NEWLINE)
        self._last = content[-1:] or self._last
        return content

    @property
    def lines(self) -> int:
        """An unfinished last one counts."""
        return self._newlines + (self._last != _NEWLINE)


def _read_records(
    open_file: OpenFile, contract: Contract, name: str, head: CsvHead
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    chunks: list[pd.DataFrame] = [pd.DataFrame(columns=head.names, dtype=object)]
    lines: list[int] = []
    rows: list[list[str | None]] = []
    numbers = contract.number_columns
    blank = [name in numbers or name == contract.event_time for name in head.names]

    def pack() -> None:
        columns = zip(head.names, zip(*rows, strict=True), strict=True)
        chunks.append(pd.DataFrame({key: _column(values, head, number=key in numbers) for key, values in columns}))
        rows.clear()

    with open_file() as file:
        file.read(head.size)
        for line, cells in _records(file, name, head):
            lines.append(line)
            pairs = zip(cells, blank, strict=True)
            rows.append([None if may_be and cell in NO_VALUE else cell for cell, may_be in pairs])
            if len(rows) == _CHUNK_ROWS:
                pack()
    if rows:
        pack()
    frame = pd.concat(chunks[1:], ignore_index=True) if len(chunks) > 1 else chunks[0]
    return frame, np.array(lines, dtype=np.int64)


def _records(file: IO[bytes], name: str, head: CsvHead) -> Iterator[tuple[int, list[str]]]:
    """Records and the lines that they begin at; blank lines are none."""
    reader = csv.reader(_texts(file, name, head.lines), delimiter=head.separator, skipinitialspace=True, strict=True)
    while True:
        line = head.lines + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidInput(f"{name}: line {line} is not a valid CSV record ({error}).", _REMEDY) from error
        cells = [cell.strip() for cell in cells]
        if len(cells) == len(head.names):
            yield line, cells
        elif any(cells):
            said = f"{name}: line {line} has {len(cells)} fields, the header {len(head.names)}."
            raise InvalidInput(said, _REMEDY)


_REMEDY: Final = "Give every line as many fields, and put text that holds separators or quotes into quotes."


def _texts(file: IO[bytes], name: str, before: int) -> Iterator[str]:
    for number, line in enumerate(file, before + 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{name}: line {number} is not UTF-8 text.", "Save it as UTF-8 CSV.") from error


def _column(values: Sequence[str | None], head: CsvHead, *, number: bool) -> Any:
    if not number:
        return np.array(values, dtype=object)
    if head.decimal == ",":
        values = [value and value.replace(",", ".") for value in values]
    try:
        # float() rounds correctly, but takes 1_000 for a number
        if any(value and "_" in value for value in values):
            raise ValueError
        return np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return np.array(values, dtype=object)


def parse_csv_lines(
    lines: bytes,
    head: CsvHead,
    types: Mapping[str, pa.DataType],
    on_broken_line: Callable[[Any], Literal["skip", "error"]] | None = None,
) -> pa.Table:
    """Parse some lines out of a CSV file, each of them a row, empty ones too.

    Parameters
    ----------
    head : CsvHead
        The file's.
    types : mapping of str to DataType
        The columns that are kept, with their types. Only an empty field is a missing value: text such as ``NA`` stays.
    on_broken_line : callable
        Called with Arrow's account of a line with another number of fields, which is an error by default.

    Raises
    ------
    pyarrow.ArrowInvalid
        When a value is not of its column's type, or a line has another number of fields.
    """
    return pa.csv.read_csv(
        pa.BufferReader(lines),
        pa.csv.ReadOptions(column_names=head.names, use_threads=False, block_size=len(lines) + 1),
        pa.csv.ParseOptions(delimiter=head.separator, ignore_empty_lines=False, invalid_row_handler=on_broken_line),
        pa.csv.ConvertOptions(
            column_types=dict(types),
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=True,
            decimal_point=head.decimal,
        ),
    )
