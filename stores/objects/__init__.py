"""Objects by name, in a local folder or in S3. boto3 is imported only where an address is one of S3."""

from typing import Protocol

from stores.objects.errors import MissingObject
from stores.objects.local import LocalObjects
from stores.objects.locations import checked_endpoint, checked_location, is_s3

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
        from stores.objects.s3 import S3Objects  # imports boto3: 0.3 s

        return S3Objects(location, endpoint_url, setting=setting)
    return LocalObjects(location, setting=setting)
