"""Reading a request's body: only what it says it is, and never more of it than is allowed."""

from collections.abc import AsyncIterator

from fastapi import Request

from serving.accept import media_type_of
from serving.errors import BodyTooLarge, UnsupportedMediaType


async def read_json_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises
    ------
    UnsupportedMediaType
        When the client does not say that it sends JSON.
    BodyTooLarge
        As soon as the announced or the received length passes ``max_bytes``.
    """
    if media_type_of(request.headers.get("content-type", "")) != "application/json":
        raise UnsupportedMediaType("The body must be JSON.", "Send the header Content-Type: application/json.")
    return b"".join([part async for part in limited_stream(request, max_bytes)])


async def limited_stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in parts, as they come in.

    Raises
    ------
    BodyTooLarge
        As soon as the announced or the received length passes ``max_bytes``.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large(max_bytes)
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield part


def too_large(max_bytes: int) -> BodyTooLarge:
    """What a client is told about a body above a limit."""
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes.", "Send it in parts.")
