"""What a Parquet file would take in memory, looked at before Arrow takes it.

Arrow takes as much memory as a page's header asks for, up to 2 GB, before it unpacks the page; a footer may say
something else. And it writes a text that a dictionary has once into every row that shows it. The gateway has a child
with a limit on its memory for that; the pipelines look at the headers instead, which are a few dozen bytes each, and at
dictionaries. A header is a struct of Thrift's compact protocol [1]_; which pages there are is counted as Arrow counts:
until a column chunk's values are complete.

References
----------
.. [1] https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and, for the fields,
   https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import pyarrow as pa

from ml_project.errors import InvalidInput

MOST_BYTES: Final = 256 * 1024**2
"""What the pages that are unpacked at once may take: one of each column, with the dictionary that it needs."""

_MOST_EXPANSION: Final = 100
"""Beyond that, as many times of what they take in the file. Writers that make a column chunk one page (fastparquet)
have larger ones, of values that hardly shrink; a column of one value shrinks to nothing, but not all of them do."""

_FIRST_LOOK, _LONGEST_HEADER = 512, 16 * 1024**2
"""Bytes of a header; it may hold the smallest and the largest text of its page. The latter is Arrow's own limit."""

_NO_HEADER: Final = "has no header"
_DEPTH: Final = 8
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
_FIXED: Final = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}
"""Bytes of values, in lists, that always have as many."""

_KIND, _UNPACKED, _PACKED, _VALUES = 1, 2, 3, 1
"""Fields of a page's header; of what it holds for its kind, the first is the number of values."""

_DICTIONARY: Final = 2
_DATA: Final = {0: 5, 3: 8}
"""The fields of data pages of version 1 and 2, by their kinds."""

_CODECS: Final = {"LZ4": "lz4_raw"}
"""Arrow's names of codecs, where Parquet has others."""


@dataclass(frozen=True)
class Page:
    """A page by its header.

    Attributes
    ----------
    place : int
        Where its content begins in the file.
    unpacked, packed : int
        What it takes in memory and in the file, in bytes.
    values : int
        0 for a dictionary.
    """

    place: int
    unpacked: int
    packed: int
    values: int
    is_dictionary: bool


def check_pages(
    file: Any,
    metadata: Any,
    name: str,
    columns: Collection[str] | None = None,
    groups: Iterable[int] | None = None,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Refuse a file whose pages would take far more memory than what is in the file can fill.

    Parameters
    ----------
    file : pyarrow.NativeFile
    metadata : pyarrow.parquet.FileMetaData
        The file's footer.
    name : str
        What messages call it.
    columns, groups : optional
        Those that will be read; None: all.
    most_bytes : int
        What the pages that are unpacked at once may take, whatever they take in the file.

    Raises
    ------
    InvalidInput
        Also when a header cannot be read.
    """
    size = file.size()
    for group in range(metadata.num_row_groups) if groups is None else groups:
        unpacked = packed = 0
        largest: tuple[int, str] = (0, "")
        for chunk, column in _chunks(metadata, group):
            path = column.path
            if columns is not None and not _is_wanted(path, columns):
                continue
            # Arrow holds one page of each column, and its dictionary
            most = {False: (0, 0), True: (0, 0)}
            try:
                for page in pages(file, size, chunk):
                    most[page.is_dictionary] = max(most[page.is_dictionary], (page.unpacked, page.packed))
            except _Damaged as error:
                raise InvalidInput(
                    f"{name}: not a complete Parquet file (a page of the column {path!r} {error}).",
                    "Copy or write it again.",
                ) from error
            unpacked += sum(each[0] for each in most.values())
            packed += sum(each[1] for each in most.values())
            largest = max(largest, (max(most.values())[0], path))
        if unpacked > max(most_bytes, _MOST_EXPANSION * packed):
            raise InvalidInput(
                f"{name}: its pages say that they take {unpacked / 1e6:,.0f} MB when they are unpacked, of "
                f"{packed / 1e6:,.3f} MB in the file, most of them in the column {largest[1]!r}.",
                "It is damaged, or made to fill a memory: copy it again, or write it in row groups of fewer rows.",
            )


def _chunks(metadata: Any, group: int) -> Iterator[tuple[Any, Any]]:
    """Each column chunk with its column in the schema: of the path and type that a chunk has, Arrow takes no notice."""
    for place in range(metadata.num_columns):
        yield metadata.row_group(group).column(place), metadata.schema.column(place)


def _is_wanted(path: str, columns: Collection[str]) -> bool:
    """Whether a chunk is of one of the columns, or of a field inside one."""
    return path in columns or any(path.startswith(f"{column}.") for column in columns)


class _Damaged(Exception):
    """What is wrong with a page."""


def pages(file: Any, size: int, chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk, as Arrow would read them.

    Parameters
    ----------
    size : int
        Of the file, in bytes.
    chunk : pyarrow.parquet.ColumnChunkMetaData
    """
    place, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    if dictionary is not None and 0 < dictionary < place:
        place = dictionary
    left = chunk.num_values
    while left > 0:
        header, length = _header(file, place)
        kind = header.numbers.get(_KIND)
        unpacked, packed = (header.numbers.get(field, -1) for field in (_UNPACKED, _PACKED))
        page = Page(place + length, unpacked, packed, _values(header), kind == _DICTIONARY)
        if min(page.unpacked, page.packed, page.values) < 0:
            raise _Damaged(_NO_HEADER)
        place = page.place + page.packed
        if place > size:
            raise _Damaged("ends beyond the file")
        yield page
        left -= page.values


def long_texts(file: Any, metadata: Any, columns: Collection[str], groups: Iterable[int], longest: int) -> list[str]:
    """Columns that have, or may have, a text of more bytes than ``longest`` in a dictionary.

    A dictionary has a text once, however many rows show it: a few kilobytes of file may be gigabytes of text.
    Arguments are those of `check_pages`, which the file has passed.
    """
    found: dict[str, None] = {}
    for group in groups:
        for chunk, column in _chunks(metadata, group):
            path = column.path
            if column.physical_type != "BYTE_ARRAY" or path in found or path not in columns:
                continue
            for page in pages(file, file.size(), chunk):
                if page.is_dictionary and page.unpacked > longest and _longest_text(file, page, chunk) > longest:
                    found[path] = None
                    break
    return [*found]


def _longest_text(file: Any, page: Page, chunk: Any) -> float:
    """Bytes of a dictionary's longest text; infinite where it cannot be unpacked here."""
    file.seek(page.place)
    content = file.read(page.packed)
    if chunk.compression != "UNCOMPRESSED":
        codec = _CODECS.get(chunk.compression, chunk.compression.lower())
        try:
            content = pa.Codec(codec).decompress(content, page.unpacked, asbytes=True)
        except (pa.ArrowException, OSError, ValueError):
            return inf
    longest = place = 0
    while place + 4 <= len(content):
        length = int.from_bytes(content[place : place + 4], "little")
        longest, place = max(longest, length), place + 4 + length
    return longest


def _values(header: "_Struct") -> int:
    """Values of a page of data, -1 where it does not say; other pages have none."""
    field = _DATA.get(header.numbers.get(_KIND, -1))
    if field is None:
        return 0
    return header.structs[field].numbers.get(_VALUES, -1) if field in header.structs else -1


def _header(file: Any, place: int) -> tuple["_Struct", int]:
    """A page's header, and how many bytes it takes."""
    look = _FIRST_LOOK
    while True:
        file.seek(place)
        content = file.read(look)
        reader = _Compact(content)
        try:
            return reader.struct(), reader.place
        except IndexError:
            if len(content) < look or look >= _LONGEST_HEADER:
                raise _Damaged(_NO_HEADER) from None
            look *= 8


class _Struct:
    """What matters of a struct: its integers of 32 bits and its structs, by the numbers of their fields."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.structs: dict[int, _Struct] = {}


class _Compact:
    """Reads structs; raises IndexError where the content ends too early."""

    def __init__(self, content: bytes) -> None:
        self._content, self.place = content, 0

    def struct(self, depth: int = 0) -> _Struct:
        """A struct; of a field that is there twice, the last counts."""
        content, found, number = self._content, _Struct(), 0
        while True:
            head = content[self.place]
            self.place += 1
            if not head & 0x0F:
                return found
            number = number + (head >> 4) if head >> 4 else _zigzag(self._varint())
            number = (number + 0x8000 & 0xFFFF) - 0x8000  # Thrift has 16 bits for it, and goes on in them
            kind = head & 0x0F
            if kind == _I32:
                found.numbers[number] = _zigzag(self._varint() & 0xFFFFFFFF)
            elif kind == _STRUCT:
                found.structs[number] = self._nested(depth)
            elif kind not in (_TRUE, _FALSE):  # which have no bytes of their own
                self._pass(kind, depth)

    def _nested(self, depth: int) -> _Struct:
        if depth == _DEPTH:
            raise _Damaged(_NO_HEADER)
        return self.struct(depth + 1)

    def _pass(self, kind: int, depth: int) -> None:
        """Go past a value."""
        if kind in _FIXED:
            self._skip(_FIXED[kind])
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind == _STRUCT:
            self._nested(depth)
        elif kind in (_LIST, _SET) and depth < _DEPTH:
            self._list(depth + 1)
        else:
            raise _Damaged(_NO_HEADER)

    def _list(self, depth: int) -> None:
        head = self._content[self.place]
        self.place += 1
        count = head >> 4 if head >> 4 < 15 else self._varint()
        for _ in range(count):
            self._pass(head & 0x0F, depth)

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._content[self.place]
            self.place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise _Damaged(_NO_HEADER)


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
