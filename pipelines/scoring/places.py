"""Folders of files that parts are read from and written to: local, or in S3.

Files in S3 are written with checksums and read in ranges, so that a part fetches little more than its rows.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import pyarrow as pa

from ml_project.errors import InvalidInput, Unavailable
from stores.files import sync_folder
from stores.objects import LocalObjects, is_s3, split_s3

_SETTING: Final = "--data and --output"


class Place(Protocol):
    """Files by name below a folder. Each appears whole or not at all, and is durable."""

    @property
    def location(self) -> str:
        """The address by which `open_place` opens it, here or on another machine."""

    def names(self) -> list[str]:
        """All files below, sorted."""

    def open(self, name: str) -> Any:
        """A file to read at any position (``pyarrow.NativeFile``)."""

    def read(self, name: str) -> bytes:
        """A small file; raises `MissingObject`."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, replacing an earlier one."""

    def creating(self, name: str) -> Any:
        """A context manager that gives a local path to write; the file appears when the block ends without error."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class LocalPlace:
    """A local folder; see `Place`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._objects = LocalObjects(folder, setting=_SETTING)

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self.folder.absolute())

    def names(self) -> list[str]:
        """All files but unfinished ones."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def open(self, name: str) -> Any:
        """The file itself."""
        return pa.OSFile(str(self.folder / name))

    def read(self, name: str) -> bytes:
        """Whole."""
        return self._objects.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Atomic and durable."""
        self._objects.write(name, content)

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """Atomic and durable."""
        path = self.folder / name
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise Unavailable(f"Cannot write {path}: {error.strerror or error}.", f"Check {_SETTING}.") from error
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Unlink."""
        (self.folder / name).unlink(missing_ok=True)


class S3Place:
    """A prefix in S3; see `Place`."""

    def __init__(self, location: str, endpoint_url: str = "") -> None:
        from stores.s3 import S3Objects  # imports boto3: 0.3 s

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
        """Written to a temporary file, then uploaded."""
        with TemporaryDirectory(prefix="fraud-part-") as scratch:
            path = Path(scratch) / Path(name).name
            yield path
            self._objects.upload(path, name)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._objects.remove(name)

    def take(self, staging: "S3Place", name: str) -> None:
        """Move an object here from another prefix; one that was moved before stays as it is."""
        self._objects.copy_from(staging._objects, name)
        staging.remove(name)


def open_place(location: str, endpoint_url: str = "") -> Place:
    """The folder at a location; neither created nor read yet.

    Raises
    ------
    InvalidInput
        For an address that is neither a path nor one of S3.
    """
    location = s3_address(location)
    if is_s3(location):
        return S3Place(location, endpoint_url)
    if "://" in location:
        raise InvalidInput(f"{location}: this kind of address is not supported.", "Give a path or s3://bucket/key.")
    return LocalPlace(Path(location))


def s3_address(location: str) -> str:
    """An address with Spark's ``s3a://`` spelled ``s3://``; others as they are."""
    return "s3://" + location.removeprefix("s3a://") if location.startswith("s3a://") else location
