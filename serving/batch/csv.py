"""Transactions in CSV (RFC 4180), a header in any order; `ml_project.tables` knows the dialects.

The file is cut into blocks of whole records, so that each can be parsed alone and every line keeps its number. A block
is parsed by Arrow, at some 300 bytes per microsecond. Where that fails, or lines and rows are not one to one, the block
is read again record by record, which finds the faults and keeps the good rows. What Arrow takes as a finite number, the
slow way takes too, so that a row's fate does not depend on its neighbours.

Both ways are linear in the file's size: a record ends where its quotes are even, and one that is not right there is a
line at fault; its end is not looked for further on.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from ml_project.columns import NO_VALUE, raw_column
from ml_project.contract import Contract
from ml_project.contract_parts import WRONG, ContractField
from ml_project.errors import InvalidInput
from ml_project.tables import HEAD_BYTES, CsvHead, read_head
from serving.batch import CHUNK_ROWS
from serving.batch.readers import check_columns, checked, chunk_of, columns_of
from serving.errors import FieldError, MalformedFile
from serving.transactions import Chunk, parsed_cell

_PARSE_BYTES: Final = 1024**2
"""Parts of a block that are parsed side by side; a record longer than that is read the slow way."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_csv(file: BinaryIO, contract: Contract) -> Iterator[Chunk]:
    """Chunks of a contract's file; rows are named by the line that they start at, the file's first line being line 1.

    Raises
    ------
    InvalidFields
        For a header with missing, unknown or doubled columns.
    MalformedFile
        When there is no header, no UTF-8 text, or a line that is too long.
    """
    start = file.tell()
    try:
        head = read_head(file.read(HEAD_BYTES), contract)
    except InvalidInput as error:
        raise MalformedFile(error.cause, error.remedy) from error
    check_columns(head.names, contract)
    file.seek(start + head.size)
    for block in blocks(file, line=head.lines + 1):
        yield _fast(block, head, contract) or _slow(block, head, contract)


BLOCK_BYTES: Final = 4 * 1024**2
"""About 8,000 transactions."""

LINE_BYTES: Final = HEAD_BYTES
"""The longest line: some hundred times a transaction's."""

_QUOTE: Final = b'"'


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of whole records, and the number of the first of them."""

    lines: list[bytes]
    line: int


def blocks(file: BinaryIO, line: int, rows: int = CHUNK_ROWS, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Cut the rest of a file, whose next line has the number ``line``, after so many lines or bytes.

    A quote that is never closed would swallow the lines after it: where a block has no whole record, it goes as it is,
    and the next one starts afresh.

    Raises
    ------
    MalformedFile
        At a line that is longer than ``LINE_BYTES``.
    """
    lines: list[bytes] = []
    whole, length, is_open = 0, 0, False
    while content := file.readline(LINE_BYTES + 1):
        if len(content) > LINE_BYTES:
            raise MalformedFile(
                f"Line {line + len(lines)} is longer than {LINE_BYTES} bytes.", "Send a CSV with a line per row."
            )
        lines.append(content)
        length += len(content)
        is_open ^= content.count(_QUOTE) % 2 == 1
        if not is_open:
            whole = len(lines)
        if len(lines) >= rows or length >= size:
            cut = whole or len(lines)
            yield Block(lines[:cut], line)
            line, lines = line + cut, lines[cut:]
            # What is left is the beginning of one record.
            whole, length, is_open = 0, sum(map(len, lines)), bool(lines)
    if lines:
        yield Block(lines, line)


def _fast(block: Block, head: CsvHead, contract: Contract) -> Chunk | None:
    numbers = {field.name for field in contract.given_fields if field.numeric}
    wanted = [name for name in columns_of(contract) if name in head.names]
    types = {name: pa.float64() if name in numbers else pa.string() for name in wanted}
    content = b"".join(block.lines)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            arrow_csv.ReadOptions(column_names=head.names, block_size=_PARSE_BYTES),
            arrow_csv.ParseOptions(delimiter=head.separator, newlines_in_values=_QUOTE in content),
            arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=wanted,
                null_values=list(NO_VALUE) if contract.optional else [],
                decimal_point=head.decimal,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if len(block.lines) != len(table):
        return None
    return chunk_of(table, contract, np.arange(block.line, block.line + len(table)))


def _slow(block: Block, head: CsvHead, contract: Contract) -> Chunk:
    time_column = head.names.index(contract.event_time) if contract.event_time in head.names else None
    records: list[list[str]] = []
    times: list[datetime | ValueError | None] = []
    rows: list[int] = []
    faults: list[FieldError] = []
    for place, cells, fault in _records(block.lines, head):
        row = block.line + place
        if fault:
            faults.append({"row": row, "message": fault})
        elif cells:
            records.append(cells)
            times.append(None if time_column is None else parsed_cell(cells[time_column]))
            rows.append(row)
    values = [_column(field, records, head) for field in contract.given_fields]
    values += [np.full(len(records), np.nan)] * len(contract.history)

    def word(row: int, name: str) -> str:
        return records[row][head.names.index(name)]

    called = {
        name: [cells[head.names.index(name)] for cells in records]
        for name in (contract.transaction_id, *contract.entities)
        if name in head.names
    }
    chunk = checked(contract, np.column_stack(values), called, np.array(rows, dtype=np.int64), times, word)
    errors = sorted(chunk.errors + faults, key=lambda error: error["row"])
    return Chunk(chunk.transactions, chunk.rows, errors)


def _column(field: ContractField, records: list[list[str]], head: CsvHead) -> NDArray[np.float64]:
    """A field's values of records, as raw transactions have them."""
    if field.name not in head.names:
        return np.full(len(records), np.nan)
    place = head.names.index(field.name)
    if field.numeric:
        return np.array([_number(cells[place], head.decimal) for cells in records], dtype=np.float64)
    return raw_column(field, pa.array([cells[place] for cells in records], pa.string()))


def _records(lines: Sequence[bytes], head: CsvHead) -> Iterator[tuple[int, list[str], str]]:
    """Every record: the line that it starts at, its cells (none in an empty line), and its fault.

    A line with an odd number of quotes opens a record that goes on to the next such line. If that is not right, it was
    a stray quote, and only that line is at fault.
    """
    odd = [place for place, line in enumerate(lines) if line.count(_QUOTE) % 2]
    ends = dict(zip(odd, [*odd, len(lines) - 1][1:], strict=True))
    place = 0
    while place < len(lines):
        cells, fault, used = _record(lines[place : ends.get(place, place) + 1], head)
        yield place, cells, fault
        place += used


def _record(lines: Sequence[bytes], head: CsvHead) -> tuple[list[str], str, int]:
    """The record that some lines begin with: its cells, its fault, and how many lines it takes."""
    texts = [line.decode("utf-8", "surrogateescape") for line in lines]
    reader = csv.reader(texts, delimiter=head.separator, strict=True)
    try:
        cells = next(reader, [])
    except csv.Error as error:
        return [], f"Not CSV: {error}", 1
    if not cells:
        return [], "", 1
    if len(cells) != len(head.names):
        return [], f"Expected {len(head.names)} cells, found {len(cells)}", 1
    used = reader.line_num
    if any(map(_has_stray_bytes, texts[:used])):
        return [], "Not UTF-8", used
    return cells, "", used


def _has_stray_bytes(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def _number(cell: str, decimal: str) -> float:
    text = cell.strip()
    if decimal != ".":
        text = text.translate({ord("."): decimal, ord(decimal): "."})
    if text in NO_VALUE:
        return np.nan
    return float(text) if _NUMBER.fullmatch(text) else WRONG
