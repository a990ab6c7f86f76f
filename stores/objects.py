"""Objects by name, in a local folder or in S3. boto3 is imported only where an address is one of S3."""

import re
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from ml_project.errors import InvalidInput, Unavailable
from stores.files import write_atomically


class MissingObject(InvalidInput):
    """There is no object of that name."""


_S3: Final = "s3://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def is_s3(location: str) -> bool:
    """Whether a location is one of S3."""
    return location.startswith(_S3)


def split_s3(location: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``; no slash at either end of the key.

    Raises
    ------
    ValueError
        When the bucket has no valid name.
    """
    bucket, _, key = location.removeprefix(_S3).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is no name of a bucket; write s3://bucket/prefix")
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
        raise ValueError("only a local folder or s3://bucket/prefix is understood")
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
        raise ValueError("keys do not belong into the address: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return value


class LocalObjects:
    """Files below a folder, which is made when something is written; see `stores.objects.Objects`."""

    def __init__(self, folder: str | Path, *, setting: str) -> None:
        self._folder = Path(folder)
        self._setting = setting

    def address(self, name: str) -> str:
        """The file's path."""
        return str(self._path(name))

    def read(self, name: str) -> bytes:
        """A file's content."""
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise MissingObject(f"{path}: no such file.", f"Check {self._setting}.") from error
        except OSError as error:
            raise Unavailable(f"Cannot read {path}: {error.strerror}.", f"Check {self._setting}.") from error

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        path = self._path(name)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise Unavailable(f"Cannot write {path}: {error.strerror}.", f"Check {self._setting}.") from error

    def _path(self, name: str) -> Path:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InvalidInput(f"{name!r} leads out of {self._folder}.", "Somebody tampered with what names it.")
        return self._folder / name


__all__ = ["LocalObjects", "MissingObject", "Objects", "checked_endpoint", "checked_location", "is_s3", "open_objects"]


class Objects(Protocol):
    """Named contents; each is replaced whole or not at all.

    Both methods raise `Unavailable` when the place cannot be reached or refuses us.
    """

    def address(self, name: str) -> str:
        """Where an object lies, for messages."""

    def read(self, name: str) -> bytes:
        """An object's content; raises `MissingObject`."""

    def write(self, name: str, content: bytes) -> None:
        """Put a content in the place of what has the name."""


def open_objects(location: str, endpoint_url: str = "", *, setting: str) -> Objects:
    """What a location holds. Nothing is read or asked yet.

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
