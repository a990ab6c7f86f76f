"""Where ``--data`` points, as files that are read in place: by scoring, which reads parts of them, and by Spark.

Which files hold rows is told by their names: one answer for ingestion, scoring and Spark. A folder's rows are those of
all files below it, at any depth. Hive's folders ``name=value`` give their rows a column, which counts where it is one
of a transaction's.
"""

from typing import Final, Literal
from urllib.parse import unquote

from ml_project.errors import InvalidInput
from stores.objects import MissingObject, Objects, checked_location, open_objects, s3_address

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


def open_place(location: str, endpoint_url: str) -> Objects:
    """The objects at what ``--data`` or ``--output`` names; neither created nor read yet.

    Raises
    ------
    InvalidInput
        For an address that is neither a path nor one of S3.
    """
    setting = "--data and --output"
    try:
        return open_objects(checked_location(s3_address(location)), endpoint_url, setting=setting)
    except ValueError as error:
        raise InvalidInput(f"{location}: {error}.", f"Check {setting}.") from error


def find_files(data: str, endpoint_url: str) -> tuple[Objects, list[str]]:
    """The folder of the input and the names of its files: ``data`` itself, or all files of the folder ``data``.

    Raises
    ------
    InvalidInput
        When there is none.
    """
    data = s3_address(data).rstrip("/")
    if kind_of(data) is not None:
        folder, _, name = data.rpartition("/")
        place = open_place(folder or ("/" if data.startswith("/") else "."), endpoint_url)
        try:
            place.open(name).close()
            return place, [name]
        except MissingObject:
            pass  # a folder may have such a name, as Spark's do
        except OSError as error:
            if not isinstance(error, IsADirectoryError) and "directory" not in str(error).lower():
                raise InvalidInput(f"{data}: cannot be read ({error}).", "Check --data.") from error
    place = open_place(data, endpoint_url)
    names = [name for name in place.names() if is_part(name)]
    if not names:
        raise InvalidInput(
            f"{data}: no Parquet or CSV file there.", "Give a .parquet or .csv file, or a folder of them."
        )
    return place, names
