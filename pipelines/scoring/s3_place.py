"""Files in S3: written with checksums, read in ranges, so that a part fetches little more than its rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa

from stores.objects import split_s3
from stores.s3 import S3Objects

_SETTING: Final = "--data and --output"


class S3Place:
    """A prefix; see `pipelines.scoring.places.Place`."""

    def __init__(self, location: str, endpoint_url: str = "") -> None:
        self._objects = S3Objects(location, endpoint_url, setting=_SETTING)
        self._root = "/".join(part for part in split_s3(location) if part)

    @property
    def location(self) -> str:
        """The prefix."""
        return f"s3://{self._root}"

    def names(self) -> list[str]:
        """All objects below the prefix."""
        return self._objects.names()

    def open(self, name: str) -> Any:
        """Read by ranges."""
        return pa.PythonFile(self._objects.reader(name), "r")

    def read(self, name: str) -> bytes:
        """Whole, checked against the SHA-256 that it was written with."""
        return self._objects.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all."""
        self._objects.write(name, content)

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """Written here, then uploaded."""
        with TemporaryDirectory(prefix="fraud-part-") as scratch:
            path = Path(scratch) / Path(name).name
            yield path
            self._objects.upload(path, name)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._objects.remove(name)

    def take(self, staging: "S3Place", name: str) -> None:
        """Move an object from another prefix here; one that has moved already is left alone."""
        self._objects.copy_from(staging._objects, name)
        staging.remove(name)
