"""Tables from files: CSV (plain, .gz, .zip), Parquet, or a folder of them, local or in S3."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import require_distinct
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.tables import as_text, is_text, text_bytes
from pipelines.data.csv_text import read_csv
from pipelines.data.parquet_pages import MOST_BYTES as PAGE_BYTES
from pipelines.data.parquet_pages import check_pages
from pipelines.data.places import is_hidden, is_part, kind_of, partition_values
from stores.objects import MissingObject, is_s3

KINDS: Final = "a CSV file (.csv, .csv.gz, .zip with one CSV), a Parquet file (.parquet, .pq) or a folder of them"
WHERE: Final = f"{KINDS}, as a local path or s3://bucket/key"
MOST_BYTES: Final = 4 * 1024**3
"""Largest table that is read into memory by default."""

_BROKEN: Final = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)
_MOST_EXPANSION: Final = 100
"""Times that a packed CSV may be larger than its archive. Transactions shrink to a third; what shrinks to a hundredth
was made to fill a memory."""

_SMALL: Final = 16 * 1024**2
"""Bytes that may be unpacked whatever the archive's size."""


def nowhere(_row: int) -> str:
    """The place of a row that has none but its number."""
    return ""


@dataclass(frozen=True)
class Table:
    """A table as it was in its files.

    Attributes
    ----------
    place_of : callable
        Where a row (counted from 1) stands, in words: its line in a CSV, its file in a folder; else empty.
    """

    frame: pd.DataFrame
    place_of: Callable[[int], str] = nowhere


def read_table(location: str, contract: Contract, s3_endpoint_url: str = "", most_bytes: int = MOST_BYTES) -> Table:
    """Read a table from where ``--data`` points; further kinds of location are added here.

    Parameters
    ----------
    contract : Contract
        Says which columns are known, and which of them hold numbers.
    most_bytes : int
        Largest file of a table: bytes of CSV, unpacked, or of Parquet's values.

    Raises
    ------
    InvalidInput
        If there is nothing, nothing that can be read as a table, or one that is too large.
    Unavailable
        If S3 cannot be reached or refuses access.
    """
    if is_s3(location):
        from stores.s3 import S3Objects  # imports boto3: 0.3 s

        try:
            with S3Objects(location, s3_endpoint_url, setting="--data").fetched(is_part) as path:
                return _read(path, contract, location, most_bytes)
        except MissingObject as error:
            raise InvalidInput(
                f"{location}: no such object, and no folder with CSV or Parquet files.", "Check --data."
            ) from error
    if "://" in location:
        raise InvalidInput(f"{location}: this kind of address is not supported.", f"Give {WHERE}.")
    return _read(Path(location), contract, location, most_bytes)


def _read(path: Path, contract: Contract, name: str, most_bytes: int) -> Table:
    """Read a local file or folder; messages call it by ``name``."""
    try:
        if path.is_dir():
            return _read_folder(path, contract, name, most_bytes)
        if not path.exists():
            raise InvalidInput(f"{name}: no such file.", f"Give {KINDS}.")
        return _read_file(path, contract, name, most_bytes)
    except NotImplementedError as error:  # Windows packs what is large by a method that Python does not know
        raise InvalidInput(
            f"{name}: an archive of a kind that is not read here ({error}).", "Unpack it first."
        ) from error
    except _BROKEN as error:
        raise InvalidInput(f"{name}: damaged or incomplete archive ({error}).", "Copy or download it again.") from error
    except OSError as error:
        raise InvalidInput(f"{name}: cannot be read ({error.strerror or error}).", "Check the path.") from error


def _read_file(path: Path, contract: Contract, name: str, most_bytes: int) -> Table:
    kind = kind_of(path.name)
    if kind is None:
        raise InvalidInput(f"{name}: not a supported kind of file.", f"Give {KINDS}.")
    if path.stat().st_size == 0:
        raise InvalidInput(f"{name}: the file is empty.", f"Give {KINDS}, with transactions.")
    if kind == "parquet":
        return Table(_read_parquet(path, contract, name, most_bytes))
    frame, lines = read_csv(partial(_open_csv, path, name, most_bytes), contract, name)
    return Table(frame, lambda row: f"line {lines[row - 1]}")


def _read_folder(path: Path, contract: Contract, name: str, most_bytes: int) -> Table:
    files = (str(part.relative_to(path)) for part in path.rglob("*") if part.is_file())
    names = sorted(file for file in files if is_part(file))
    if not names:
        raise InvalidInput(f"{name}: a folder without CSV or Parquet files.", f"Give {KINDS}.")
    parts = [_read_part(path / part, contract, f"{name.rstrip('/')}/{part}", part, most_bytes) for part in names]
    require_same_columns({part: list(table.frame.columns) for part, table in zip(names, parts, strict=True)}, name)
    ends = list(accumulate(len(table.frame) for table in parts))

    def place_of(row: int) -> str:
        part = int(np.searchsorted(ends, row))
        own = row - (ends[part - 1] if part else 0)
        return f"{names[part]}, {parts[part].place_of(own) or f'row {own}'}"

    return Table(pd.concat([table.frame for table in parts], ignore_index=True), place_of)


def _read_part(path: Path, contract: Contract, name: str, part: str, most_bytes: int) -> Table:
    table = _read_file(path, contract, name, most_bytes)
    given = partition_values(part)
    new = {key: given[key] for key in given if key in contract.known_columns and key not in table.frame}
    return Table(table.frame.assign(**new), table.place_of) if new else table


def require_same_columns(columns: dict[str, list[str]], name: str) -> None:
    """Refuse a folder of which one file lacks a column that another has; ``columns`` by file.

    Raises
    ------
    InvalidInput
        Naming the file, the column, and a file that has it.
    """
    holder = {column: part for part, names in columns.items() for column in names}
    for part, names in columns.items():
        absent = [column for column in holder if column not in names]
        if absent:
            said = f"{name.rstrip('/')}/{part}: missing column {', '.join(absent)}, which {holder[absent[0]]} has."
            raise InvalidInput(said, "Give a folder's files the same columns.")


def _read_parquet(path: Path, contract: Contract, name: str, most_bytes: int) -> pd.DataFrame:
    with whole_parquet(name), pa.OSFile(str(path)) as source:
        metadata = pa.parquet.read_metadata(source)
        limit = min(most_bytes, max(_MOST_EXPANSION * source.size(), PAGE_BYTES))
        _require_size(_value_bytes(metadata), name, limit)
        # as dictionaries, so that texts are measured before each row has its own
        texts = [field.name for field in metadata.schema.to_arrow_schema() if is_text(field.type)]
        file = pa.parquet.ParquetFile(source, metadata=metadata, read_dictionary=texts)
        require_distinct(file.schema_arrow.names, name)
        check_pages(source, metadata, name)
        table = file.read()
    table = table.drop_columns(sorted(index_columns(table.schema, contract)))
    _require_size(sum(text_bytes(column) for column in table.columns if is_text(column.type)), name, limit)
    plain = [plain_column(column) for column in table.columns]
    # what pandas noted of its types would turn text back into categories
    frame: pd.DataFrame = pa.table(plain, names=table.column_names).to_pandas()
    return frame


@contextmanager
def whole_parquet(name: str) -> Iterator[None]:
    """Reading a Parquet file, for which Arrow raises errors of several kinds when it is damaged.

    Raises
    ------
    InvalidInput
        Instead of all of these.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise InvalidInput(f"{name}: cannot be read ({error.strerror}).", "Check the path.") from error
        raise InvalidInput(
            f"{name}: not a complete Parquet file ({_first_line(error)}).", "Copy or write it again."
        ) from error


def _value_bytes(metadata: Any) -> int:
    """What the values take, whether a page repeats them or not."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    widths: list[int] = [max(8, metadata.schema.column(place).length) for place in range(metadata.num_columns)]
    written = sum(int(group.total_byte_size) for group in groups)
    return max(written, int(metadata.num_rows) * sum(widths))


def index_columns(schema: pa.Schema, contract: Contract) -> set[str]:
    """Columns of a Parquet file that only number the rows of the pandas frame that it was."""
    noted = _index_columns_noted(schema)
    numbering = {column for column in schema.names if column in noted or column.startswith("__index_level_")}
    return numbering - set(contract.known_columns)


def _index_columns_noted(schema: pa.Schema) -> list[Any]:
    try:
        found = schema.pandas_metadata
    except ValueError:  # neither is the file's data, so damage does no harm
        return []
    noted = found.get("index_columns") if isinstance(found, dict) else None
    return noted if isinstance(noted, list) else []


def plain_column(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column without dictionaries and views, which few functions take; moments of a zone that has no rules are UTC.

    Raises
    ------
    InvalidInput
        When a text is not UTF-8.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column) if is_text(kind) else column.cast(kind.value_type)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return as_text(column)
    if pa.types.is_timestamp(kind) and not _has_rules(kind):
        return column.cast(pa.timestamp(kind.unit, "UTC"))
    return column


def _has_rules(kind: pa.TimestampType) -> bool:
    """Whether moments of this type can be told by a clock: writers name zones as they like, or damage names them."""
    try:
        pa.scalar(0, kind).as_py()
    except (LookupError, ValueError):
        return False
    return True


@contextmanager
def _open_csv(path: Path, name: str, most_bytes: int) -> Iterator[IO[bytes]]:
    """The CSV's bytes, unpacked."""
    size = path.stat().st_size
    if kind_of(path.name) == "csv":
        _require_size(size, name, most_bytes)
        with path.open("rb") as file:
            yield file
        return
    limit = min(most_bytes, max(_MOST_EXPANSION * size, _SMALL))
    if path.name.lower().endswith(".gz"):
        with gzip.open(path) as unpacked:
            yield cast(IO[bytes], io.BufferedReader(_Bounded(cast(IO[bytes], unpacked), name, limit)))
        return
    with zipfile.ZipFile(path) as archive:
        members = [part for part in archive.namelist() if part.lower().endswith(".csv") and not is_hidden(part)]
        if len(members) != 1:
            found = f"{len(members)} CSV files" if members else "no CSV file"
            raise InvalidInput(f"{name}: {found} in the archive.", "Give an archive with exactly one.")
        about = archive.getinfo(members[0])
        if about.flag_bits & 1:
            raise InvalidInput(f"{name}: the archive is encrypted.", "Unpack it first.")
        _require_size(about.file_size, name, limit)  # a member is never read beyond it
        with archive.open(members[0]) as member:
            yield member


class _Bounded(io.RawIOBase):
    """An archive's content, which is refused once it is longer than it may be."""

    def __init__(self, file: IO[bytes], name: str, limit: int) -> None:
        self._file, self._name, self._limit, self._read = file, name, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self._read += len(content)
        _require_size(self._read, self._name, self._limit)
        buffer[: len(content)] = content
        return len(content)


def _require_size(size: int, name: str, limit: int) -> None:
    if size > limit:
        raise InvalidInput(
            f"{name}: it has more than {limit // 1024**2:,} MB, unpacked.",
            "Look at what it holds. Larger tables: unpack them, set FRAUD_INGEST_MAX_MB, or use --engine spark.",
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
