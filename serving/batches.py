"""A batch from upload to answer: a chunk at a time, so that memory does not grow with its rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from serving.ahead import ahead
from serving.errors import ConflictingRows, FieldError, InvalidFields
from serving.formats import ARROW, CSV, JSON, PARQUET
from serving.formats.answers import AnswerWriter, JsonAnswer, TableAnswer
from serving.formats.arrow import read_arrow
from serving.formats.csv import read_csv
from serving.formats.json import read_json
from serving.formats.parquet import read_parquet
from serving.live_model import LiveModel
from serving.predictions import Explain, Predictions, predict_all
from serving.request_record import RequestRecord
from serving.settings import GatewaySettings
from serving.transactions import MAX_ERRORS, Chunk
from serving.uploads import Upload

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
        for chunk, predictions in ahead(self._scored(read())):
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

        def read() -> Iterator[Chunk]:
            self.upload.file.seek(0)
            return formats[self.upload.media_type](self.upload.file)

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
