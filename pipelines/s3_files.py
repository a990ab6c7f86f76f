"""Input data in S3, downloaded before they are read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ml_project.errors import InvalidInput
from stores.objects import MissingObject

_SETTING = "--data"


@contextmanager
def fetched(location: str, endpoint_url: str, is_part: Callable[[str], bool]) -> Iterator[Path]:
    """A local copy of an object, or of the files of a folder, which lasts as long as the block.

    Parameters
    ----------
    location : str
        ``s3://bucket/key`` of a file or of a folder.
    endpoint_url : str
        S3 endpoint; empty: AWS's own.
    is_part : callable
        Chooses the files of a folder by name.

    Raises
    ------
    InvalidInput
        If there is neither an object nor a folder with parts.
    Unavailable
        If S3 cannot be reached or refuses access.
    """
    from stores.s3 import S3Objects  # imports boto3: 0.3 s

    below = S3Objects(location, endpoint_url, setting=_SETTING)
    with TemporaryDirectory(prefix="fraud-data-") as scratch:
        copy = Path(scratch) / Path(location).name
        try:
            below.download("", copy)
        except MissingObject as error:
            parts = [part for part in below.names() if "/" not in part and is_part(part)]
            if not parts:
                raise InvalidInput(
                    f"{location}: no such object, and no folder with Parquet files.", f"Check {_SETTING}."
                ) from error
            copy.mkdir()
            for part in parts:
                below.download(part, copy / part)
        yield copy
