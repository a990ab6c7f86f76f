"""Transactions as a JSON array, which is small enough to be read whole."""

from collections.abc import Iterator
from typing import BinaryIO

from serving.bodies import too_large
from serving.request_record import stage
from serving.transactions import Chunk, parse_batch


def read_json(file: BinaryIO, max_bytes: int, max_rows: int) -> Iterator[Chunk]:
    """The array as one chunk; rows count from 0.

    Raises
    ------
    MalformedJson, InvalidFields, BodyTooLarge
        See `parse_batch`.
    """
    body = file.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    with stage("parse"):
        chunk = parse_batch(body, max_rows)
    yield chunk
