"""Objects by name, in a local folder or in S3: one interface, so that callers do not ask where a location lies.

boto3 is imported only where an address is one of S3 (`stores.s3`), pyarrow only where an object is opened.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ml_project.errors import InvalidInput, Unavailable
from stores.files import sync_folder, write_atomically

_S3: Final = "s3://"
_S3A: Final = "s3a://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


LARGEST_READ: Final = 64 * 1024**2
"""Bytes of an object that is read into memory whole, unless less is said."""


class MissingObject(InvalidInput):
    """There is no object of that name."""


def too_large(address: str, largest: int, setting: str) -> Unavailable:
    """The error for an object that is not read for its size."""
    return Unavailable(f"Cannot read {address}: it has more than {largest} bytes.", f"Check {setting}.")


class Objects(Protocol):
    """Named contents below a location; each is replaced whole or not at all, and lasts.

    A name has slashes between its folders. Every method raises `Unavailable` when the location cannot be reached or
    access is refused.
    """

    @property
    def location(self) -> str:
        """What `open_objects` takes to open the same in another process."""

    def address(self, name: str) -> str:
        """Where an object lies, for messages."""

    def names(self) -> list[str]:
        """All objects below, sorted; unfinished ones are left out."""

    def read(self, name: str, largest: int = LARGEST_READ) -> bytes:
        """A small object's content; raises `MissingObject`, and `Unavailable` for more than ``largest`` bytes."""

    def open(self, name: str) -> Any:
        """An object to read at any position (``pyarrow.NativeFile``); raises `MissingObject`."""

    def write(self, name: str, content: bytes) -> None:
        """Put a small content in the place of what has the name."""

    def creating(self, name: str) -> AbstractContextManager[Path]:
        """A local path to write to; what is there becomes the object when the block ends well, else nothing stays."""

    def remove(self, name: str) -> None:
        """Delete an object; a missing one is no error."""


def open_objects(location: str, endpoint_url: str = "", *, setting: str) -> Objects:
    """The objects at a location. Nothing is made, read or asked yet.

    Parameters
    ----------
    location : str
        A folder, or ``s3://bucket/prefix``.
    endpoint_url : str
        S3 endpoint; empty: AWS's own.
    setting : str
        The setting that holds the location, for messages.
    """
    if is_s3(location):
        from stores.s3 import S3Objects  # imports boto3: 0.3 s

        return S3Objects(location, endpoint_url, setting=setting)
    return LocalObjects(location, setting=setting)


class LocalObjects:
    """Files below a folder, which is made when something is written; see `Objects`."""

    def __init__(self, folder: str | Path, *, setting: str) -> None:
        self.folder = Path(folder)
        self._setting = setting

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self.folder.absolute())

    def address(self, name: str) -> str:
        """The file's path."""
        return str(self._path(name))

    def names(self) -> list[str]:
        """Files at any depth; those whose name begins with a dot are unfinished."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def read(self, name: str, largest: int = LARGEST_READ) -> bytes:
        """A file's content; a pipe or device in its place is refused, as reading one may never end."""
        path = self._path(name)
        try:
            # without O_NONBLOCK, opening a pipe waits for somebody who writes to it
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Unavailable(f"Cannot read {path}: it is not a file.", f"Check {self._setting}.")
                content = file.read(largest + 1)
        except FileNotFoundError as error:
            raise self._missing(path) from error
        except OSError as error:
            raise Unavailable(f"Cannot read {path}: {error.strerror}.", f"Check {self._setting}.") from error
        if len(content) > largest:
            raise too_large(str(path), largest, self._setting)
        return content

    def open(self, name: str) -> Any:
        """A file of the operating system. `OSError` passes where it is none, such as a folder."""
        import pyarrow as pa

        path = self._path(name)
        try:
            return pa.OSFile(str(path))
        except FileNotFoundError as error:
            raise self._missing(path) from error

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        path = self._path(name)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise self._unwritable(path, error) from error

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """A hidden file in the same folder, renamed once it is on disk."""
        path = self._path(name)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise self._unwritable(path, error) from error
        finally:
            with suppress(OSError):
                partial.unlink()

    def remove(self, name: str) -> None:
        """Unlink a file."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InvalidInput(f"{name!r} leads out of {self.folder}.", "Its name was tampered with.")
        return self.folder / name

    def _missing(self, path: Path) -> MissingObject:
        return MissingObject(f"{path}: no such file.", f"Check {self._setting}.")

    def _unwritable(self, path: Path, error: OSError) -> Unavailable:
        return Unavailable(f"Cannot write {path}: {error.strerror or error}.", f"Check {self._setting}.")


def is_s3(location: str) -> bool:
    """Whether a location is one of S3."""
    return location.startswith(_S3)


def s3_address(location: str) -> str:
    """The location with Spark's spelling of S3 (``s3a://``) put into the usual one."""
    return _S3 + location.removeprefix(_S3A) if location.startswith(_S3A) else location


def split_s3(location: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``; no slash at either end of the key.

    Raises
    ------
    ValueError
        When the bucket has no valid name.
    """
    bucket, _, key = location.removeprefix(_S3).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is not a bucket name; write s3://bucket/prefix")
    return bucket, key.strip("/")


def checked_location(value: str) -> str:
    """A setting's folder or ``s3://bucket/prefix``; ``file://`` is taken off.

    Raises
    ------
    ValueError
        For any other kind of address.
    """
    value = value.removeprefix("file://")
    if is_s3(value):
        split_s3(value)
    elif "://" in value:
        raise ValueError("only a local folder or s3://bucket/prefix is supported")
    return value


def checked_endpoint(value: str) -> str:
    """A setting's S3 endpoint; empty stands for AWS's own.

    Raises
    ------
    ValueError
        When it is no plain http(s) address. Keys in it would end up in messages and logs.
    """
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("write http://host:port or https://host:port")
    if parts.username or parts.password:
        raise ValueError("keys do not belong in the address: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return value
