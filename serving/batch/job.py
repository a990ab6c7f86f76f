"""A batch from upload to answer: a chunk at a time, so that memory does not grow with its rows.

It is processed off the event loop; a small answer goes out whole, a large one piece by piece. The next chunk is scored
while the one before it is kept and written: the time that both spend outside of Python then overlaps.

The work ends with its client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from serving.admission import Admission
from serving.batch import ARROW, JSON, PARQUET
from serving.batch.answers import AnswerWriter, JsonAnswer, TableAnswer
from serving.batch.csv import read_csv
from serving.batch.readers import read_json, read_unpacked, unpacked
from serving.batch.upload import Upload
from serving.batch.work import Work
from serving.errors import MAX_ERRORS, ConflictingRows, FieldError, InvalidFields
from serving.live_model import LiveModel
from serving.predictions import Explain, Predictions, predict_all, unkept
from serving.settings import GatewaySettings
from serving.telemetry.request import RequestRecord
from serving.transactions import Chunk

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
        Keeps every chunk before it is answered, unless the request says otherwise.
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

    def pieces(self, settings: GatewaySettings, record: RequestRecord, work: Work) -> Generator[bytes]:
        """The answer. Empty pieces only say that work goes on, so that others may have the thread meanwhile.

        Raises
        ------
        InvalidFields
            Before the first piece that is not empty, for rows that cannot be scored, unless they are to be skipped.
        FraudError
            For what the formats refuse, and what takes more than it may.
        """
        with self._source(settings, work) as read:
            yield from self._answers(read, record, work)

    def _answers(self, read: Callable[[], Iterator[Chunk]], record: RequestRecord, work: Work) -> Iterator[bytes]:
        # A JSON array is one chunk, so that looking at it once is enough.
        if self.on_error is OnError.FAIL and self.upload.media_type != JSON:
            yield from _refuse_bad_rows(read())
        writer = self._writer()
        rows = alerts = skipped = 0
        scored = self._scored(read(), work)
        # a chunk's history has the chunks before it, once they are kept
        for chunk, predictions in scored if self.model.contract.history else prefetched(scored):
            conflicts: Mapping[int, str] = {}
            if record.keep:
                predictions, conflicts = self.decisions.keep_chunk(predictions, record)
            else:
                predictions = unkept(predictions)
            if conflicts:
                chunk, predictions = self._without(conflicts, chunk, predictions)
            piece = writer.add(chunk, predictions)
            rows, alerts = rows + len(predictions), alerts + predictions.alerts
            skipped += len({error["row"] for error in chunk.errors})
            record.fields.update(rows=rows, alerts=alerts, skipped=skipped)
            yield piece
        yield writer.end()

    def _scored(self, chunks: Iterator[Chunk], work: Work) -> Iterator[tuple[Chunk, Predictions]]:
        explain = self._explain()
        for chunk in chunks:
            if chunk.errors and self.on_error is OnError.FAIL:
                raise InvalidFields(chunk.errors)
            transactions = self.decisions.past.fill(self.model.contract, chunk.transactions)
            yield replace(chunk, transactions=transactions), predict_all(self.model, transactions, explain, work.check)

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
            raise ConflictingRows(errors)
        rest = [row for row in range(len(predictions)) if row not in conflicts]
        left = predictions.take(rest)
        return Chunk(left.transactions, chunk.rows[rest], [*chunk.errors, *errors]), left

    @contextmanager
    def _source(self, settings: GatewaySettings, work: Work) -> Iterator[Callable[[], Iterator[Chunk]]]:
        """What reads the rows from the beginning, as often as it is called."""
        media_type, file, contract = self.upload.media_type, self.upload.file, self.model.contract
        # one moment for both readings, so that no row changes sides between them
        admission = Admission.now(contract, settings)

        def checked(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
            return work.bounded(map(admission.chunk, chunks))

        if media_type in (PARQUET, ARROW):
            with unpacked(file, media_type, contract, settings, work) as plain:
                yield lambda: checked(read_unpacked(plain, contract))
            return
        read = (
            partial(read_json, file, self.model.parser, settings.max_body_bytes, settings.max_batch_rows)
            if media_type == JSON
            else partial(read_csv, file, contract)
        )

        def from_the_beginning() -> Iterator[Chunk]:
            file.seek(0)
            return checked(read())

        yield from_the_beginning

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
        raise InvalidFields(errors)


_WHOLE_BYTES: Final = 256 * 1024
"""Answers up to this size go out in one piece, with their length."""


async def answer_batch(
    batch: Batch, settings: GatewaySettings, request: Request, record: RequestRecord, limiter: CapacityLimiter
) -> Response:
    """Answer off the event loop; what fails before the answer has begun is raised, and the upload closed.

    Later failures cut the answer off, which every HTTP client notices.

    Raises
    ------
    ClientDisconnect
        When the client has left meanwhile.
    """
    work = Work(settings.max_upload_rows, settings.max_upload_seconds)
    job = _Job(batch, work, batch.pieces(settings, record, work), request, limiter)
    head: list[bytes] = []
    options: dict[str, Any] = {
        "headers": {"X-Model-Version": batch.model.version},
        "media_type": batch.media_type,
    }
    pieces = job.run()
    try:
        async for piece in pieces:
            head.append(piece)
            if sum(map(len, head)) > _WHOLE_BYTES:
                return _BatchResponse(job, _chained(head, pieces), **options)
    except BaseException:
        await job.close()
        raise
    await job.close()
    return Response(b"".join(head), **options)


class _Job:
    """A batch at work: on worker threads, a piece at a time, for as long as its client is there."""

    def __init__(
        self, batch: Batch, work: Work, pieces: Generator[bytes], request: Request, limiter: CapacityLimiter
    ) -> None:
        self._upload, self._work, self._pieces, self._limiter = batch.upload, work, pieces, limiter
        self._client = asyncio.create_task(_end_with_client(request, work))

    async def run(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await to_thread.run_sync(self._next, limiter=self._limiter)) is not None:
                if piece:
                    yield piece
            self._client.cancel()  # the end of its answer looks to it as if it had left
        except Exception as error:
            if self._work.ended:
                raise ClientDisconnect from error
            raise

    @property
    def ended(self) -> bool:
        """Whether its client has left."""
        return self._work.ended

    def _next(self) -> bytes | None:
        with self._work.counted():
            return next(self._pieces, None)

    async def close(self) -> None:
        """End what is left of the work, and free what it held."""
        self._client.cancel()
        self._work.end()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    def _close(self) -> None:
        # If a thread still has it, it stops there by itself.
        with suppress(ValueError):
            self._pieces.close()
        self._upload.close()


async def _end_with_client(request: Request, work: Work) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    work.end()


async def _chained(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in head:
        yield piece
    async for piece in rest:
        yield piece


class _BatchResponse(StreamingResponse):
    """Ends the work when the answer has gone out, or its reader has gone away."""

    def __init__(self, job: _Job, content: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(content, **options)
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
            if self._job.ended:
                raise ClientDisconnect
        finally:
            await self._job.close()


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
