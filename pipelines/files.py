"""Tables from files: CSV (plain, .gz, .zip), Parquet, or a folder of Parquet."""

import gzip
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NoReturn, cast

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml_project.errors import InvalidInput
from ml_project.schema import EVENT_TIME, LABEL, RAW_FEATURES, WEIGHT

KINDS: Final = "a CSV file (.csv, .csv.gz, .zip with one CSV), a Parquet file (.parquet) or a folder of Parquet files"
_TYPES: Final = {column: pa.float64() for column in (*RAW_FEATURES, LABEL, WEIGHT)} | {EVENT_TIME: pa.string()}
_BROKEN: Final = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Table:
    """A table as it stood in its file; ``header_lines`` is 1 for CSV, whose rows have line numbers."""

    frame: pd.DataFrame
    header_lines: int


def read_table(location: str) -> Table:
    """Read a table from where ``--data`` points: the one place to add further kinds of location.

    Raises
    ------
    InvalidInput
        If there is nothing, or nothing that can be read as a table.
    """
    if "://" in location:
        raise InvalidInput(f"{location}: this kind of address is not supported.", f"Give {KINDS}, as a local path.")
    path = Path(location)
    try:
        if path.is_dir():
            return Table(_read_folder(path), 0)
        if not path.exists():
            raise InvalidInput(f"{path}: no such file.", f"Give {KINDS}.")
        if path.stat().st_size == 0:
            _refuse_empty(path)
        name = path.name.lower()
        if name.endswith((".parquet", ".pq")):
            return Table(_read_parquet(path), 0)
        if name.endswith((".csv", ".csv.gz", ".zip")):
            return Table(_read_csv(path), 1)
    except _BROKEN as error:
        raise InvalidInput(f"{path}: damaged or incomplete archive ({error}).", "Copy or download it again.") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror or error}).", "Check the path.") from error
    raise InvalidInput(f"{path}: not a kind of file that is understood.", f"Give {KINDS}.")


def _read_folder(path: Path) -> pd.DataFrame:
    # Names beginning with "_" or "." are the marks and unfinished files of whoever wrote the folder (Spark does so).
    parts = sorted(part for part in path.glob("*.parquet") if part.is_file() and not part.name.startswith(("_", ".")))
    if not parts:
        raise InvalidInput(f"{path}: a folder without Parquet files.", f"Give {KINDS}.")
    return pd.concat([_read_parquet(part) for part in parts], ignore_index=True)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pa.parquet.ParquetFile(path).read().to_pandas()
    except pa.ArrowException as error:
        raise InvalidInput(
            f"{path}: not a complete Parquet file ({_first_line(error)}).", "Copy or write it again."
        ) from error
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with _opened(path) as file:
            options = pa.csv.ConvertOptions(column_types=_TYPES)
            frame: pd.DataFrame = pa.csv.read_csv(file, convert_options=options).to_pandas()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # Arrow reads fast and rounds right but does not say where it failed. Read as text, the table either names
        # the line itself or goes on to cleaning, which names column and row.
        frame = _read_text(path)
    return frame


def _read_text(path: Path) -> pd.DataFrame:
    try:
        with _opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(file, dtype=str, index_col=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        _refuse_empty(path)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text (at byte {error.start}).", "Save it as UTF-8 CSV.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise InvalidInput(f"{path}: not a table ({_first_line(error)}).", "Give every line as many fields.") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The CSV's bytes, unpacked."""
    if path.name.lower().endswith(".gz"):
        with gzip.open(path) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            # macOS adds a shadow "__MACOSX/._name.csv" of every file.
            names = [name for name in archive.namelist() if name.lower().endswith(".csv") and "__MACOSX" not in name]
            if len(names) != 1:
                found = f"{len(names)} CSV files" if names else "no CSV file"
                raise InvalidInput(f"{path}: {found} in the archive.", "Give an archive with exactly one.")
            if archive.getinfo(names[0]).flag_bits & 1:
                raise InvalidInput(f"{path}: the archive is encrypted.", "Unpack it first.")
            with archive.open(names[0]) as member:
                yield member
    else:
        with path.open("rb") as file:
            yield file


def _refuse_empty(path: Path) -> NoReturn:
    raise InvalidInput(f"{path}: the file is empty.", f"Give {KINDS}, with transactions.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
