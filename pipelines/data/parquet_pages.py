"""What a Parquet file would take in memory, looked at before Arrow takes it.

Arrow takes as much memory as a page's header asks for, up to 2 GB, before it unpacks the page; a footer may say
something else. And it writes a text that a dictionary has once into every row that shows it. The gateway has a child
with a limit on its memory for that; the pipelines look at the headers instead, which are a few dozen bytes each, and at
dictionaries. Headers and footer are structs of Thrift's compact protocol [1]_; which pages there are is counted as
Arrow counts: until a column chunk's values are complete. The footer is read here, too: asked for a chunk of a damaged
one, pyarrow ends the process.

References
----------
.. [1] https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and, for the fields,
   https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
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

_TAIL: Final = 8
"""Bytes at the end of a file: how long the footer before them is, and the format's mark."""

_NO_HEADER: Final = "has no header"
_DEPTH: Final = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
_FIXED: Final = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}
"""Bytes of values, in lists, that always have as many."""

_KIND, _UNPACKED, _PACKED, _VALUES = 1, 2, 3, 1
"""Fields of a page's header; of what it holds for its kind, the first is the number of values."""

_ROW_GROUPS, _CHUNKS, _META, _CODEC, _CHUNK_VALUES, _DATA_PLACE, _DICTIONARY_PLACE = 4, 1, 3, 4, 5, 9, 11
"""Fields on the way from the footer to a column chunk's pages."""

_DICTIONARY: Final = 2
_DATA: Final = {0: 5, 3: 8}
"""The fields of data pages of version 1 and 2, by their kinds."""

_CODECS: Final = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_UNCOMPRESSED: Final = 0


@dataclass(frozen=True)
class Chunk:
    """A column's values in a row group by the footer: where its pages begin, and how many values they have."""

    data_place: int
    dictionary_place: int
    values: int
    codec: int


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
    size, found = file.size(), chunks(file, metadata, name)
    for group in range(len(found)) if groups is None else groups:
        unpacked = packed = 0
        largest: tuple[int, str] = (0, "")
        for chunk, column in zip(found[group], _columns(metadata), strict=True):
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


def _columns(metadata: Any) -> Iterator[Any]:
    """Those of the schema. A chunk has a path and a type, too, of which Arrow takes no notice."""
    return map(metadata.schema.column, range(metadata.num_columns))


def chunks(file: Any, metadata: Any, name: str) -> tuple[tuple[Chunk, ...], ...]:
    """The column chunks of each row group, in the schema's order.

    Raises
    ------
    InvalidInput
        When the footer cannot be read.
    """
    size = file.size()
    file.seek(max(0, size - _TAIL))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - _TAIL - length))
    try:
        found = _chunks_of(file.read(length))
        if [len(group) for group in found] != [metadata.num_columns] * metadata.num_row_groups:
            raise _Damaged
        return found
    except (_Damaged, IndexError, KeyError) as error:
        raise InvalidInput(
            f"{name}: not a complete Parquet file (its footer cannot be read).", "Copy or write it again."
        ) from error


@lru_cache(maxsize=4)
def _chunks_of(footer: bytes) -> tuple[tuple[Chunk, ...], ...]:
    """Kept, since `score` asks for every part of a file: a thousand row groups take more than a second."""
    groups = _Compact(footer).struct().lists.get(_ROW_GROUPS, [])
    return tuple(tuple(map(_chunk, group.lists.get(_CHUNKS, []))) for group in groups)


def _chunk(described: "_Struct") -> Chunk:
    meta = described.structs[_META]
    longs = meta.longs
    return Chunk(
        longs[_DATA_PLACE], longs.get(_DICTIONARY_PLACE, 0), longs[_CHUNK_VALUES], meta.numbers.get(_CODEC, -1)
    )


def _is_wanted(path: str, columns: Collection[str]) -> bool:
    """Whether a chunk is of one of the columns, or of a field inside one."""
    return path in columns or any(path.startswith(f"{column}.") for column in columns)


class _Damaged(Exception):
    """What is wrong with a page."""


def pages(file: Any, size: int, chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk, as Arrow would read them.

    Parameters
    ----------
    size : int
        Of the file, in bytes.
    """
    place = chunk.data_place
    if 0 < chunk.dictionary_place < place:
        place = chunk.dictionary_place
    left = chunk.values
    if place < 0:
        raise _Damaged(_NO_HEADER)
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
    there = chunks(file, metadata, "")
    for group in groups:
        for chunk, column in zip(there[group], _columns(metadata), strict=True):
            path = column.path
            if column.physical_type != "BYTE_ARRAY" or path in found or path not in columns:
                continue
            for page in pages(file, file.size(), chunk):
                if page.is_dictionary and page.unpacked > longest and _longest_text(file, page, chunk.codec) > longest:
                    found[path] = None
                    break
    return [*found]


def _longest_text(file: Any, page: Page, codec: int) -> float:
    """Bytes of a dictionary's longest text; infinite where it cannot be unpacked here."""
    file.seek(page.place)
    content = file.read(page.packed)
    if codec != _UNCOMPRESSED:
        if codec not in _CODECS:
            return inf
        try:
            content = pa.Codec(_CODECS[codec]).decompress(content, page.unpacked, asbytes=True)
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
    """What matters of a struct: integers of 32 and of 64 bits, structs and lists of them, by their fields' numbers."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.longs: dict[int, int] = {}
        self.structs: dict[int, _Struct] = {}
        self.lists: dict[int, list[_Struct]] = {}


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
            elif kind == _I64:
                found.longs[number] = _zigzag(self._varint() & 0xFFFFFFFFFFFFFFFF)
            elif kind == _STRUCT:
                found.structs[number] = self._nested(depth)
            elif kind == _LIST and depth < _DEPTH:
                found.lists[number] = self._list(depth + 1)
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

    def _list(self, depth: int) -> list[_Struct]:
        """The structs of a list; one of anything else is gone past."""
        head = self._content[self.place]
        self.place += 1
        count = head >> 4 if head >> 4 < 15 else self._varint()
        kind = head & 0x0F
        if kind == _STRUCT:
            return [self._nested(depth) for _ in range(count)]
        for _ in range(count):
            self._pass(kind, depth)
        return []

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
