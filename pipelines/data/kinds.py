"""Which files hold rows, by their names: one answer for ingestion, scoring and Spark.

A folder's rows are those of all files below it, at any depth. Hive's folders ``name=value`` give their rows a column,
which counts where it is one of a transaction's.
"""

from typing import Final, Literal
from urllib.parse import unquote

Kind = Literal["parquet", "csv", "packed csv"]

_ENDINGS: Final[dict[str, Kind]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "packed csv",
    ".zip": "packed csv",
}
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def kind_of(name: str) -> Kind | None:
    """The kind of table that a name promises, in either case of letters; None for other files."""
    return next((kind for ending, kind in _ENDINGS.items() if name.lower().endswith(ending)), None)


def is_part(name: str) -> bool:
    """Whether a file below a folder holds rows of its table; ``name`` has slashes between folders.

    Names beginning with "_" or "." are markers and unfinished files of the program that wrote the folder, and what
    macOS puts beside every file (``._name``).
    """
    return kind_of(name) in ("parquet", "csv") and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, is none of a person's data."""
    return any(piece.startswith((".", "_")) and "=" not in piece for piece in name.split("/"))


def partition_values(name: str) -> dict[str, str | None]:
    """The columns that Hive's folders give to the rows of a file below them."""
    pairs = (piece.partition("=") for piece in name.split("/")[:-1] if "=" in piece)
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, _, value in pairs}
