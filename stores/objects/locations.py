"""Addresses of folders and buckets, as settings hold them."""

import re
from typing import Final
from urllib.parse import urlsplit

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
