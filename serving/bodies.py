"""Reading a request's body: only JSON, and never more of it than is allowed."""

from fastapi import Request

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
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("The body must be JSON.", "Send the header Content-Type: application/json.")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes.", "Send it in parts.")
