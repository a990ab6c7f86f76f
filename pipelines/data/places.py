"""Where ``--data`` points, as files that are read in place: by scoring, which reads parts of them, and by Spark."""

from ml_project.errors import InvalidInput
from pipelines.data.kinds import is_part, kind_of
from stores.objects import MissingObject, Objects, checked_location, open_objects, s3_address


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
