"""Tables from files: CSV (plain, .gz, .zip), Parquet, or a folder of Parquet, local or in S3."""

import gzip
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn, cast

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml_project.errors import InvalidInput
from ml_project.schema import EVENT_TIME, LABEL, RAW_FEATURES, WEIGHT
from stores.objects import MissingObject, is_s3

KINDS: Final = "a CSV file (.csv, .csv.gz, .zip with one CSV), a Parquet file (.parquet) or a folder of Parquet files"
WHERE: Final = f"{KINDS}, as a local path or s3://bucket/key"
_TYPES: Final = {column: pa.float64() for column in (*RAW_FEATURES, LABEL, WEIGHT)} | {EVENT_TIME: pa.string()}
_BROKEN: Final = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Table:
    """A table as it was in its file; ``header_lines`` is 1 for CSV, whose rows have line numbers."""

    frame: pd.DataFrame
    header_lines: int


def read_table(location: str, s3_endpoint_url: str = "") -> Table:
    """Read a table from where ``--data`` points; further kinds of location are added here.

    Raises
    ------
    InvalidInput
        If there is nothing, or nothing that can be read as a table.
    Unavailable
        If S3 cannot be reached or refuses access.
    """
    if is_s3(location):
        from stores.s3 import S3Objects  # imports boto3: 0.3 s

        try:
            with S3Objects(location, s3_endpoint_url, setting="--data").fetched(is_part) as path:
                return _read(path, location)
        except MissingObject as error:
            raise InvalidInput(
                f"{location}: no such object, and no folder with Parquet files.", "Check --data."
            ) from error
    if "://" in location:
        raise InvalidInput(f"{location}: this kind of address is not supported.", f"Give {WHERE}.")
    return _read(Path(location), location)


def _read(path: Path, name: str) -> Table:
    """Read a local file or folder; messages call it by ``name``."""
    try:
        if path.is_dir():
            return Table(_read_folder(path, name), 0)
        if not path.exists():
            raise InvalidInput(f"{name}: no such file.", f"Give {KINDS}.")
        if path.stat().st_size == 0:
            _refuse_empty(name)
        kind = path.name.lower()
        if kind.endswith((".parquet", ".pq")):
            return Table(_read_parquet(path, name), 0)
        if kind.endswith((".csv", ".csv.gz", ".zip")):
            return Table(_read_csv(path, name), 1)
    except _BROKEN as error:
        raise InvalidInput(f"{name}: damaged or incomplete archive ({error}).", "Copy or download it again.") from error
    except OSError as error:
        raise InvalidInput(f"{name}: cannot be read ({error.strerror or error}).", "Check the path.") from error
    raise InvalidInput(f"{name}: not a kind of file that is understood.", f"Give {KINDS}.")


def is_part(name: str) -> bool:
    """Whether a file of a folder holds rows of its table.

    Names beginning with "_" or "." are markers and unfinished files of the program that wrote the folder.
    """
    return name.endswith(".parquet") and not name.startswith(("_", "."))


def parse_csv(file: IO[bytes], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Parse CSV that begins with its header.

    Arrow rounds numbers right, as a gateway does that reads them as JSON.

    Raises
    ------
    pyarrow.ArrowInvalid
        When a value is not of its column's type, or a line has another number of fields.
    """
    return pa.csv.read_csv(file, convert_options=pa.csv.ConvertOptions(column_types=dict(types)))


def parse_csv_lines(
    lines: bytes,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
    on_broken_line: Callable[[Any], Literal["skip", "error"]] | None = None,
) -> pa.Table:
    """Parse some lines out of a CSV file, each of them a row, empty ones too.

    Parameters
    ----------
    columns : sequence of str
        The names of all fields of a line.
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
        pa.csv.ReadOptions(column_names=list(columns), use_threads=False, block_size=len(lines) + 1),
        pa.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=on_broken_line),
        pa.csv.ConvertOptions(
            column_types=dict(types), include_columns=list(types), null_values=[""], strings_can_be_null=True
        ),
    )


def _read_folder(path: Path, name: str) -> pd.DataFrame:
    parts = sorted(part for part in path.iterdir() if part.is_file() and is_part(part.name))
    if not parts:
        raise InvalidInput(f"{name}: a folder without Parquet files.", f"Give {KINDS}.")
    return pd.concat([_read_parquet(part, f"{name.rstrip('/')}/{part.name}") for part in parts], ignore_index=True)


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pa.parquet.ParquetFile(path).read().to_pandas()
    except pa.ArrowException as error:
        raise InvalidInput(
            f"{name}: not a complete Parquet file ({_first_line(error)}).", "Copy or write it again."
        ) from error
    return frame


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    try:
        with _open_csv(path, name) as file:
            frame: pd.DataFrame = parse_csv(file, _TYPES).to_pandas()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # Arrow reads fast and rounds right but does not say where it failed. Read as text by pandas, the table either
        # fails with the line's number or succeeds, and then cleaning names column and row.
        frame = _read_text(path, name)
    return frame


def _read_text(path: Path, name: str) -> pd.DataFrame:
    try:
        with _open_csv(path, name) as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(file, dtype=str, index_col=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        _refuse_empty(name)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: not UTF-8 text (at byte {error.start}).", "Save it as UTF-8 CSV.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise InvalidInput(f"{name}: not a table ({_first_line(error)}).", "Give every line as many fields.") from error


@contextmanager
def _open_csv(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The CSV's bytes, unpacked."""
    if path.name.lower().endswith(".gz"):
        with gzip.open(path) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            # macOS adds a shadow "__MACOSX/._name.csv" of every file.
            members = [part for part in archive.namelist() if part.lower().endswith(".csv") and "__MACOSX" not in part]
            if len(members) != 1:
                found = f"{len(members)} CSV files" if members else "no CSV file"
                raise InvalidInput(f"{name}: {found} in the archive.", "Give an archive with exactly one.")
            if archive.getinfo(members[0]).flag_bits & 1:
                raise InvalidInput(f"{name}: the archive is encrypted.", "Unpack it first.")
            with archive.open(members[0]) as member:
                yield member
    else:
        with path.open("rb") as file:
            yield file


def _refuse_empty(name: str) -> NoReturn:
    raise InvalidInput(f"{name}: the file is empty.", f"Give {KINDS}, with transactions.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
