"""Tables as people bring them: text of any Arrow kind, names that are nearly right, and the dialects of CSV.

Gateway, ingestion and scoring read files of the same people; what such a file means, and what is said about it, is
decided here once. A dialect is read where the file proves it and refused where it could mean two things.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml_project.errors import InvalidInput

if TYPE_CHECKING:  # the child that unpacks a file would import pydantic for a name
    from ml_project.contract import Contract

_INDEX: Final = re.compile(r"__index_level_\d+__", re.ASCII)
_UNNAMED: Final = re.compile(r"(Unnamed: \d+)?", re.ASCII)


def is_index(name: str) -> bool:
    """Whether a column is the index of a pandas frame, by the name that pandas reserves for it; it is no data."""
    return _INDEX.fullmatch(name) is not None


def column_hint(name: str, contract: "Contract") -> str:
    """What an unknown column probably is, and what to do about it; empty where nothing is known."""
    if is_index(name) or _UNNAMED.fullmatch(name):
        return "It may be the row index of pandas: write the file with index=False."
    meant = _by_folded(contract).get(name.strip().casefold())
    return f"Write it {meant}." if meant and meant != name else ""


def _by_folded(contract: "Contract") -> dict[str, str]:
    return {name.casefold(): name for name in contract.known_columns}


def spelled(names: Sequence[str]) -> list[str]:
    """Names for a message, in which consecutive numbers become a range: x1 to x28 is ``x1..x28``."""
    found: list[tuple[str, int | None, int]] = []
    for name in names:
        match = _NUMBERED.fullmatch(name)
        stem, number = (match[1], int(match[2])) if match else (name, None)
        if found and number is not None and (found[-1][0], found[-1][2] + 1) == (stem, number):
            found[-1] = (stem, found[-1][1], number)
        else:
            found.append((stem, number, number if number is not None else -1))
    return [
        stem if first is None else f"{stem}{first}" + (f"..{stem}{last}" if last > first else "")
        for stem, first, last in found
    ]


_NUMBERED: Final = re.compile(r"(.*?)(0|[1-9]\d*)", re.ASCII)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of the many for text: UTF-8 as strings or bytes, in any layout, also as a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return any(check(kind) for check in _TEXT)


_VIEWS: Final = (pa.types.is_string_view, pa.types.is_binary_view)
_TEXT: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    *_VIEWS,
)


def as_text(column: pa.Array | pa.ChunkedArray, most_bytes: int | None = None) -> pa.Array | pa.ChunkedArray:
    """A text column of any kind as plain strings; dictionaries and views are written out.

    Parameters
    ----------
    column : Array or ChunkedArray
        Of a type that `is_text` knows.
    most_bytes : int, optional
        Most bytes that its texts may have together. A dictionary or a view needs them only once in the file, however
        many rows show them.

    Raises
    ------
    InvalidInput
        When a text is not UTF-8, or they are longer than ``most_bytes``; neither is written out then.
    """
    if isinstance(column, pa.ChunkedArray):
        parts = [as_text(chunk, most_bytes) for chunk in column.chunks]
        return pa.chunked_array(parts, pa.string())
    if most_bytes is not None and (size := text_bytes(column)) > most_bytes:
        raise InvalidInput(
            f"{len(column)} rows of a text column have {size} bytes, more than {most_bytes}.",
            "Leave out long texts, or send fewer rows at once.",
        )
    try:
        if pa.types.is_dictionary(column.type):
            # Views cannot be looked up by Arrow: the dictionary is written out first.
            return as_text(column.dictionary).take(column.indices)
        text = column.cast(pa.string())
        text.validate(full=True)  # what says that it is text need not be
        return text
    except pa.ArrowInvalid as error:
        raise InvalidInput("A text is not UTF-8.", "Write text as UTF-8.") from error


def text_bytes(column: pa.Array | pa.ChunkedArray) -> int:
    """Bytes that the texts of a column have together once dictionaries and views are written out."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return sum(int(_text_lengths(chunk).sum()) for chunk in chunks)


def _text_lengths(column: pa.Array) -> NDArray[np.int64]:
    """Bytes of each text (n,); 0 for a missing one."""
    if pa.types.is_dictionary(column.type):
        each = np.append(_text_lengths(column.dictionary), 0)
        places = pc.fill_null(column.indices.cast(pa.int64()), -1)
        shown: NDArray[np.int64] = each[places.to_numpy(zero_copy_only=False)]
        return shown
    if any(check(column.type) for check in _VIEWS):
        # Arrow has no kernel for it. A view has 16 bytes and begins with its length.
        views = np.frombuffer(column.buffers()[1], np.int32).reshape(-1, 4)
        lengths = views[column.offset : column.offset + len(column), 0].astype(np.int64)
        lengths[column.is_null().to_numpy(zero_copy_only=False)] = 0
        return lengths
    plain: NDArray[np.int64] = pc.fill_null(pc.binary_length(column).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return plain


HEAD_BYTES: Final = 64 * 1024
"""How much of a file's beginning `read_head` wants to see; a header is not longer."""

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_BOM: Final = b"\xef\xbb\xbf"
_FOREIGN: Final = {
    b"\xff\xfe": ("is UTF-16, not UTF-8", "Save it as UTF-8 CSV."),
    b"\xfe\xff": ("is UTF-16, not UTF-8", "Save it as UTF-8 CSV."),
    b"PK\x03\x04": ("is a workbook or a zip archive, not CSV", "Save the sheet as CSV, or unpack the archive."),
    b"\xd0\xcf\x11\xe0": ("is an Excel workbook, not CSV", "Save the sheet as CSV."),
    b"\x1f\x8b": ("is compressed by gzip, not CSV", "Unpack it."),
    b"PAR1": ("is Parquet, not CSV", "Name it or declare it as Parquet."),
}
_SEP_LINE: Final = re.compile(rb'"?sep=(.)"?[ \t]*\r?\n', re.IGNORECASE)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,(?P<decimals>\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_POINT: Final = re.compile(r"[+-]?\d*\.\d*([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS: Final = 3


@dataclass(frozen=True)
class CsvHead:
    """The beginning of a CSV file, up to its first row.

    Attributes
    ----------
    names : list of str
        The columns, without blanks around them.
    size : int
        Bytes before the first row: byte order mark, blank lines, Excel's line ``sep=;``, header.
    lines : int
        Lines before the first row, so that the next one has the number ``lines + 1``.
    separator : str
        One of ``SEPARATORS``.
    decimal : {'.', ','}
        How the numbers are written.
    """

    names: list[str]
    size: int
    lines: int
    separator: str
    decimal: Literal[".", ","]


def read_head(start: bytes, contract: "Contract", what: str = "The CSV") -> CsvHead:
    """Find the header of a CSV file, and the dialect that it and the first rows prove.

    The separator is the one that cuts the header into names which are known. Numbers have decimal commas when most of
    the first rows' numbers have one, and one of these cannot part thousands.

    Parameters
    ----------
    start : bytes
        The file's first ``HEAD_BYTES``, or all of a shorter one.
    contract : Contract
        Says which names are known, and which columns hold numbers.
    what : str
        What messages call the file.

    Raises
    ------
    InvalidInput
        For a file without a line, one that is not UTF-8 text, or one whose numbers could mean two things.
    """
    for magic, (problem, remedy) in _FOREIGN.items():
        if start.startswith(magic):
            raise InvalidInput(f"{what} {problem}.", remedy)
    place = len(_BOM) if start.startswith(_BOM) else 0
    lines, separator = 0, None
    while True:
        end = start.find(b"\n", place) + 1 or len(start)
        line = start[place:end]
        if not line:
            raise InvalidInput(f"{what} is empty.", "Its first line names the columns.")
        lines, place = lines + 1, end
        if named := _SEP_LINE.fullmatch(line):
            separator = named[1].decode("latin-1")
        elif line.strip():
            break
    text = _header_text(line, place, what)
    names, separator = _names(text, separator, contract, what)
    numbers = [place for place, name in enumerate(names) if name in contract.number_fields]
    return CsvHead(names, place, lines, separator, _decimal(start[place:], numbers, separator, what))


def _header_text(line: bytes, place: int, what: str) -> str:
    if not line.endswith(b"\n") and place >= HEAD_BYTES:
        raise InvalidInput(f"{what} has a header of more than {HEAD_BYTES} bytes.", "Its first line names the columns.")
    if b"\0" in line:
        raise InvalidInput(f"{what} is not UTF-8 text; it may be UTF-16.", "Save it as UTF-8 CSV.")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not UTF-8 text.", "Save it as UTF-8 CSV.") from None
    text = text.rstrip("\r\n")
    if "\r" in text:
        raise InvalidInput(f"{what} ends its lines with CR alone.", "End lines with LF or CR LF.")
    return text


def _names(text: str, separator: str | None, contract: "Contract", what: str) -> tuple[list[str], str]:
    """The header's names, and the separator that makes most of them known; a comma among equals."""
    if separator is not None and separator not in SEPARATORS:
        raise InvalidInput(f"{what} names {separator!r} as its separator.", f"Use {', '.join(SEPARATORS.values())}.")
    found = {each: _cells(text, each) for each in (separator,) if each} or {
        each: _cells(text, each) for each in SEPARATORS
    }
    known = _by_folded(contract)
    best = max(found, key=lambda each: sum(name.casefold() in known for name in found[each]))
    return found[best], best


def _cells(text: str, separator: str) -> list[str]:
    [cells] = csv.reader([text], delimiter=separator, skipinitialspace=True)
    return [cell.strip() for cell in cells]


def _decimal(rows: bytes, numbers: list[int], separator: str, what: str) -> Literal[".", ","]:
    if separator == "," and b'"' not in rows:
        return "."
    whole = rows[: rows.rfind(b"\n") + 1] or rows
    points, commas = 0, list[str]()
    # Lines with quotes across them are no numbers, and cut wrong here at worst.
    for cells in csv.reader(whole.decode("utf-8", "replace").splitlines(), delimiter=separator):
        for value in [cells[place].strip() for place in numbers if place < len(cells)]:
            if _DECIMAL_POINT.fullmatch(value):
                points += 1
            elif match := _DECIMAL_COMMA.fullmatch(value):
                commas.append(match["decimals"])
    if points >= len(commas):
        return "."
    if all(len(decimals) == _THOUSANDS for decimals in commas):
        raise InvalidInput(
            f"{what} has numbers such as 1,234, whose comma may separate thousands or decimals.",
            "Write numbers with a decimal point and no thousands separator.",
        )
    return ","
