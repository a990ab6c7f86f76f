"""HTTP bodies and types: what a body says it is, how much of it is read, and which type the answer should have."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from serving.errors import BodyTooLarge, MalformedJson, NotAcceptable, UnsupportedMediaType


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


def json_in(body: bytes) -> Any:
    """What a JSON body holds.

    Raises
    ------
    MalformedJson
        When it is not JSON.
    """
    try:
        return from_json(body, cache_strings="keys")
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from None


def too_large(max_bytes: int) -> BodyTooLarge:
    """The error for a body above a limit."""
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes.", "Send it in parts.")


def media_type_of(header: str) -> str:
    """A Content-Type without its parameters."""
    return header.partition(";")[0].strip().lower()


def negotiate(accept: str, offered: Sequence[str]) -> str:
    """The offered type that the client likes best; among equals the one offered first.

    Parameters
    ----------
    accept : str
        The request's header; empty accepts everything.
    offered : sequence of str
        What can be answered, the preferred type first.

    Raises
    ------
    NotAcceptable
        When the client takes none of them.
    """
    if not accept.strip():
        return offered[0]
    wishes = [_wish(part) for part in accept.split(",")]
    liked = {media_type: _quality(media_type, wishes) for media_type in offered}
    best = max(offered, key=lambda media_type: liked[media_type])
    if liked[best] <= 0:
        raise NotAcceptable("No answer in a type that Accept names can be given.", f"Use {', '.join(offered)}.")
    return best


def _wish(part: str) -> tuple[str, float]:
    quality = 1.0
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return media_type_of(part), quality


def _quality(media_type: str, wishes: list[tuple[str, float]]) -> float:
    """The most specific wish decides."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [quality for wished, quality in wishes if wished == pattern]
        if found:
            return max(found)
    return 0.0
