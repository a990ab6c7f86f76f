"""A batch's answer on its way out: worked on off the event loop, whole where it is small, else piece by piece."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.batches import Batch
from serving.request_record import RequestRecord
from serving.settings import GatewaySettings
from serving.uploads import Upload

_WHOLE_BYTES: Final = 256 * 1024
"""Answers up to this size go out in one piece, with their length."""


async def answer_batch(
    batch: Batch, settings: GatewaySettings, record: RequestRecord, limiter: CapacityLimiter
) -> Response:
    """Answer off the event loop; what fails before the answer has begun is raised, and the upload closed.

    Later failures cut the answer off, which every HTTP client notices.
    """
    pieces = _pull(batch.pieces(settings, record), limiter)
    head: list[bytes] = []
    options: dict[str, Any] = {
        "headers": {"X-Model-Version": batch.model.version},
        "media_type": batch.media_type,
    }
    try:
        async for piece in pieces:
            head.append(piece)
            if sum(map(len, head)) > _WHOLE_BYTES:
                return _BatchResponse(batch.upload, _chained(head, pieces), **options)
    except BaseException:
        batch.upload.close()
        raise
    batch.upload.close()
    return Response(b"".join(head), **options)


async def _pull(pieces: Iterator[bytes], limiter: CapacityLimiter) -> AsyncIterator[bytes]:
    while (piece := await to_thread.run_sync(next, pieces, None, limiter=limiter)) is not None:
        if piece:
            yield piece


async def _chained(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in head:
        yield piece
    async for piece in rest:
        yield piece


class _BatchResponse(StreamingResponse):
    """Closes the upload when the answer has gone out, or its reader has gone away."""

    def __init__(self, upload: Upload, content: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(content, **options)
        self._upload = upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._upload.close()
