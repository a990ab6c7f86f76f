"""Folders of files that parts are read from and written to: local, or in S3 (`s3_place`)."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ml_project.errors import InvalidInput, Unavailable
from stores.files import sync_folder
from stores.objects import LocalObjects, is_s3

_SETTING = "--data and --output"


class Place(Protocol):
    """Files by name below a folder. Each appears whole or not at all, and lasts."""

    @property
    def location(self) -> str:
        """What `open_place` takes to open it elsewhere."""

    def names(self) -> list[str]:
        """All files below, sorted."""

    def open(self, name: str) -> Any:
        """A file to read at any position (``pyarrow.NativeFile``)."""

    def read(self, name: str) -> bytes:
        """A small file; raises `MissingObject`."""

    def write(self, name: str, content: bytes) -> None:
        """A small file, in the place of an earlier one."""

    def creating(self, name: str) -> Any:
        """A context manager that gives a local path to write, and puts it in its place when the block ends well."""

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""


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
        """Unfinished files are none."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def open(self, name: str) -> Any:
        """A file of the system."""
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


def open_place(location: str, endpoint_url: str = "") -> Place:
    """The folder at a location; nothing is made or asked yet.

    Raises
    ------
    InvalidInput
        For an address that is neither a path nor one of S3.
    """
    location = s3_address(location)
    if is_s3(location):
        from pipelines.scoring.s3_place import S3Place  # imports boto3: 0.3 s

        return S3Place(location, endpoint_url)
    if "://" in location:
        raise InvalidInput(f"{location}: this kind of address is not supported.", "Give a path or s3://bucket/key.")
    return LocalPlace(Path(location))


def s3_address(location: str) -> str:
    """Spark's spelling of S3 in everybody else's."""
    return "s3://" + location.removeprefix("s3a://") if location.startswith("s3a://") else location
