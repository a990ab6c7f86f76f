"""Transactions in CSV (RFC 4180): UTF-8, commas, a header in any order.

The file is cut into blocks of whole records, so that each can be parsed alone and every line keeps its number. A block
is parsed by Arrow, at some 300 bytes per microsecond. Where that fails, or lines and rows are not one to one, the block
is read again record by record, which finds the faults and keeps the good rows. What Arrow takes as a finite number, the
slow way takes too, so that a row's fate does not depend on its neighbours.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from ml_project.schema import EVENT_TIME, RAW_FEATURES
from serving.batch.readers import TRANSACTION_ID, check_columns, checked, chunk_of
from serving.errors import FieldError, MalformedFile
from serving.transactions import Chunk, parsed_cell

_MAX_HEADER_BYTES: Final = 64 * 1024
_PARSE_BYTES: Final = 1024**2
"""Parts of a block that are parsed side by side; a record longer than that is read the slow way."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_A_NUMBER: Final = float("nan")


def read_csv(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a file; rows are named by the line that they start at, the header being line 1.

    Raises
    ------
    InvalidFields
        For a header with missing, unknown or doubled columns.
    MalformedFile
        When there is no header, or a line without end.
    """
    header = _header(file)
    check_columns(header)
    for block in blocks(file, line=2):
        yield _fast(block, header) or _slow(block, header)


def _header(file: BinaryIO) -> list[str]:
    line = file.readline(_MAX_HEADER_BYTES)
    try:
        names = next(csv.reader([line.decode("utf-8-sig")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedFile(f"The CSV's header cannot be read: {error}.", "Send UTF-8 with commas.") from None
    if not names:
        raise MalformedFile("The CSV is empty.", "Its first line names the columns.")
    return [name.strip() for name in names]


BLOCK_BYTES: Final = 4 * 1024**2
"""About 8,000 transactions; also the longest record."""

_QUOTE, _NEWLINE = b'"', b"\n"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, the number of the line that the first of them starts at, and how many lines they have."""

    content: bytes
    line: int
    lines: int


def blocks(file: BinaryIO, line: int, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Cut the rest of a file, whose next line has the number ``line``.

    A quote that is never closed would swallow the lines after it: where a block has no whole record, its first line
    goes alone, to be refused, and the next one starts afresh.

    Raises
    ------
    MalformedFile
        At a line that is longer than a block.
    """
    pending, more = b"", True
    while pending or more:
        if more and len(pending) < size:
            read = file.read(size - len(pending))
            more, pending = bool(read), pending + read
            continue
        end = _end_of_records(pending, not more) or pending.find(_NEWLINE) + 1
        if not end:
            if more:
                raise MalformedFile(f"Line {line} is longer than {size} bytes.", "Send a CSV with a line per row.")
            end = len(pending)
        content, pending = pending[:end], pending[end:]
        lines = content.count(_NEWLINE) + (not content.endswith(_NEWLINE))
        yield Block(content, line, lines)
        line += lines


def _end_of_records(content: bytes, is_last: bool) -> int:
    """Where the last whole record ends: after a line end with an even number of quotes before it (RFC 4180).

    The file's last record may do without the line end.
    """
    end, quotes = len(content), content.count(_QUOTE)
    if is_last and quotes % 2 == 0:
        return end
    while (newline := content.rfind(_NEWLINE, 0, end)) >= 0:
        quotes -= content.count(_QUOTE, newline, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return 0


def _fast(block: Block, header: list[str]) -> Chunk | None:
    texts = [name for name in (TRANSACTION_ID, EVENT_TIME) if name in header]
    wanted = [*RAW_FEATURES, *texts]
    types = dict.fromkeys(RAW_FEATURES, pa.float64()) | dict.fromkeys(texts, pa.string())
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(block.content),
            arrow_csv.ReadOptions(column_names=header, block_size=_PARSE_BYTES),
            arrow_csv.ParseOptions(newlines_in_values=b'"' in block.content),
            arrow_csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    if block.lines != len(table):
        return None
    return chunk_of(table, np.arange(block.line, block.line + block.lines))


def _slow(block: Block, header: list[str]) -> Chunk:
    lines = list(io.StringIO(block.content.decode("utf-8", "surrogateescape"), newline="\n"))
    columns = [header.index(name) for name in RAW_FEATURES]
    name_column, time_column = (header.index(name) if name in header else None for name in (TRANSACTION_ID, EVENT_TIME))
    raw: list[list[float]] = []
    ids: list[str | None] = []
    times: list[datetime | ValueError | None] = []
    rows: list[int] = []
    faults: list[FieldError] = []
    place = 0
    while place < len(lines):
        row, cells, fault, used = block.line + place, *_record(lines, place, len(header))
        place += used
        if fault:
            faults.append({"row": row, "message": fault})
        elif cells:
            raw.append([_number(cells[column]) for column in columns])
            ids.append(None if name_column is None else cells[name_column])
            times.append(None if time_column is None else parsed_cell(cells[time_column]))
            rows.append(row)
    chunk = checked(np.array(raw).reshape(-1, len(RAW_FEATURES)), ids, np.array(rows, dtype=np.int64), times)
    errors = sorted(chunk.errors + faults, key=lambda error: error["row"])
    return Chunk(chunk.transactions, chunk.rows, errors)


def _record(lines: list[str], place: int, width: int) -> tuple[list[str], str, int]:
    """The record that starts at a line: its cells (none in an empty line), its fault, and how many lines it takes.

    One that spans lines and is not right was probably opened by a stray quote: only its first line is at fault.
    """
    reader = csv.reader(map(lines.__getitem__, range(place, len(lines))), strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        return [], f"Not CSV: {error}", 1
    if not cells:
        return [], "", 1
    if len(cells) != width:
        return [], f"Expected {width} cells, found {len(cells)}", 1
    used = reader.line_num
    if any(not line.isascii() and _has_stray_bytes(line) for line in islice(lines, place, place + used)):
        return [], "Not UTF-8", used
    return cells, "", used


def _has_stray_bytes(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _number(cell: str) -> float:
    text = cell.strip()
    return float(text) if _NUMBER.fullmatch(text) else _NOT_A_NUMBER
