"""A batch from upload to answer: a chunk at a time, so that memory does not grow with its rows.

It is processed off the event loop; a small answer goes out whole, a large one piece by piece. The next chunk is scored
while the one before it is kept and written: the time that both spend outside of Python then overlaps.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.batch import ARROW, CSV, JSON, PARQUET
from serving.batch.answers import AnswerWriter, JsonAnswer, TableAnswer
from serving.batch.csv import read_csv
from serving.batch.readers import read_arrow, read_json, read_parquet
from serving.batch.upload import Upload
from serving.errors import ConflictingRows, FieldError, InvalidFields
from serving.event_times import believable
from serving.live_model import LiveModel
from serving.predictions import Explain, Predictions, predict_all
from serving.settings import GatewaySettings
from serving.telemetry.request import RequestRecord
from serving.transactions import MAX_ERRORS, Chunk

if TYPE_CHECKING:
    from serving.decisions import Decisions


class OnError(StrEnum):
    """What becomes of a batch with rows that cannot be scored."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a client wants to have scored, and how.

    Attributes
    ----------
    model : LiveModel
        Scores every chunk, whatever goes live meanwhile.
    decisions : Decisions
        Keeps every chunk before it is answered.
    media_type : str
        Of the answer.
    """

    upload: Upload
    model: LiveModel
    decisions: "Decisions"
    media_type: str
    on_error: OnError
    explain: bool
    amounts: bool = False

    def pieces(self, settings: GatewaySettings, record: RequestRecord) -> Iterator[bytes]:
        """The answer. Empty pieces only say that work goes on, so that others may have the thread meanwhile.

        Raises
        ------
        InvalidFields
            Before the first piece that is not empty, for rows that cannot be scored, unless they are to be skipped.
        FraudError
            For what the formats refuse.
        """
        read = self._reader(settings)
        # A JSON array is one chunk, so that looking at it once is enough.
        if self.on_error is OnError.FAIL and self.upload.media_type != JSON:
            yield from _refuse_bad_rows(read())
        writer = self._writer()
        rows = alerts = skipped = 0
        for chunk, predictions in prefetched(self._scored(read())):
            predictions, conflicts = self.decisions.keep_chunk(predictions, record)
            if conflicts:
                chunk, predictions = self._without(conflicts, chunk, predictions)
            piece = writer.add(chunk, predictions)
            rows, alerts = rows + len(predictions), alerts + predictions.alerts
            skipped += len({error["row"] for error in chunk.errors})
            record.fields.update(rows=rows, alerts=alerts, skipped=skipped)
            yield piece
        yield writer.end()

    def _scored(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Predictions]]:
        explain = self._explain()
        for chunk in chunks:
            if chunk.errors and self.on_error is OnError.FAIL:
                raise InvalidFields(chunk.errors[:MAX_ERRORS])
            yield chunk, predict_all(self.model, chunk.transactions, explain)

    def _without(
        self, conflicts: Mapping[int, str], chunk: Chunk, predictions: Predictions
    ) -> tuple[Chunk, Predictions]:
        """The rest of a chunk, with these rows among its errors: the answer to a file may have begun already.

        Raises
        ------
        ConflictingRows
            For a JSON array, unless its bad rows are to be skipped.
        """
        errors: list[FieldError] = [
            {
                "row": int(chunk.rows[row]),
                "field": "transaction_id",
                "message": f"Already used with other values, for prediction {first}",
            }
            for row, first in sorted(conflicts.items())
        ]
        if self.upload.media_type == JSON and self.on_error is OnError.FAIL:
            raise ConflictingRows(errors[:MAX_ERRORS])
        rest = [row for row in range(len(predictions)) if row not in conflicts]
        left = predictions.take(rest)
        return Chunk(left.transactions, chunk.rows[rest], [*chunk.errors, *errors]), left

    def _reader(self, settings: GatewaySettings) -> Callable[[], Iterator[Chunk]]:
        formats: dict[str, Callable[..., Iterator[Chunk]]] = {
            JSON: partial(read_json, max_bytes=settings.max_body_bytes, max_rows=settings.max_batch_rows),
            CSV: read_csv,
            PARQUET: read_parquet,
            ARROW: read_arrow,
        }

        # one moment for both readings, so that no row changes sides between them
        bounds = settings.event_time_bounds(datetime.now(UTC))

        def read() -> Iterator[Chunk]:
            self.upload.file.seek(0)
            return (believable(chunk, bounds) for chunk in formats[self.upload.media_type](self.upload.file))

        return read

    def _writer(self) -> AnswerWriter:
        if self.media_type == JSON:
            return JsonAnswer(with_rows=self.upload.media_type != JSON)
        return TableAnswer(self.media_type, self.explain, self.amounts)

    def _explain(self) -> Explain:
        if self.explain:
            return Explain.ALL
        return Explain.ALERTS if self.media_type == JSON else Explain.NONE


def _refuse_bad_rows(chunks: Iterator[Chunk]) -> Iterator[bytes]:
    errors: list[FieldError] = []
    for chunk in chunks:
        errors += chunk.errors
        if len(errors) >= MAX_ERRORS:
            break
        yield b""
    if errors:
        raise InvalidFields(errors[:MAX_ERRORS])


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


T = TypeVar("T")


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """The items, each made on another thread while the one before it is in use; at most one is made in advance.

    An error is raised when its item's turn comes. Leaving early waits for the item that is being made.
    """
    with ThreadPoolExecutor(1, "batch-prefetch") as pool:
        context = copy_context()
        following = pool.submit(context.run, _next, items)
        while found := following.result():
            following = pool.submit(context.run, _next, items)
            yield found[0]


def _next(items: Iterator[T]) -> tuple[T, ...]:
    """A tuple, so that an item may be anything."""
    for item in items:
        return (item,)
    return ()
