"""Answers to a batch, chunk by chunk, in each of the formats."""

import io
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from pydantic_core import to_json

from ml_project.policies import DECISIONS
from serving.batch import ARROW, CSV, PARQUET
from serving.errors import FieldError
from serving.predictions import Predictions
from serving.transactions import Chunk

_COLUMNS: Final = pa.schema(
    {
        "row": pa.int64(),
        "transaction_id": pa.string(),
        "fraud": pa.int8(),
        "hybrid_score": pa.float64(),
        "threshold_used": pa.float64(),
        "fraud_probability": pa.float64(),
        "decision": pa.string(),
        "model_version": pa.string(),
        "prediction_id": pa.string(),
        "kept": pa.string(),
        "error": pa.string(),
    }
)
_REASONS: Final = pa.field("reasons", pa.string())
_AMOUNT: Final = pa.field("amount", pa.float64())


class AnswerWriter(Protocol):
    """Turns chunks into the bytes of one answer."""

    def add(self, chunk: Chunk, predictions: Predictions) -> bytes:
        """What can be sent after this chunk."""

    def end(self) -> bytes:
        """The rest."""


class JsonAnswer:
    """An array with an object per row; a row that was skipped has only its place and its error.

    Parameters
    ----------
    with_rows : bool
        Say of every prediction where its transaction stood; an array's order says it as well.
    """

    def __init__(self, with_rows: bool) -> None:
        self._with_rows = with_rows
        self._next = b"["

    def add(self, chunk: Chunk, predictions: Predictions) -> bytes:
        """See `AnswerWriter`."""
        rows = chunk.rows.tolist()
        answers: list[Any] = list(predictions.answers())
        if self._with_rows:
            answers = [{"row": row, **answer} for row, answer in zip(rows, answers, strict=True)]
        if chunk.errors:
            skipped = [(row, {"row": row, "error": error}) for row, error in _error_texts(chunk.errors).items()]
            placed = sorted([*zip(rows, answers, strict=True), *skipped], key=lambda pair: pair[0])
            answers = [answer for _, answer in placed]
        if not answers:
            return b""
        start, self._next = self._next, b","
        return start + to_json(answers)[1:-1]

    def end(self) -> bytes:
        """See `AnswerWriter`."""
        return b"[]" if self._next == b"[" else b"]"


class TableAnswer:
    """A table with a row per transaction: CSV, Parquet or an Arrow stream.

    Its column ``error`` says why a row has no prediction: it was skipped, or its transaction_id was taken. It is
    not known at the beginning whether a row at the end will need it.

    Parameters
    ----------
    media_type : str
    with_reasons : bool
        Add a column with the reasons and warnings as JSON.
    with_amounts : bool
        Add a column with the transactions' amounts.
    """

    def __init__(self, media_type: str, with_reasons: bool, with_amounts: bool = False) -> None:
        self._media_type = media_type
        self._schema = _COLUMNS
        if with_reasons:
            self._schema = self._schema.append(_REASONS)
        if with_amounts:
            self._schema = self._schema.append(_AMOUNT)
        self._sink = _Sink()
        self._writer = _WRITERS[media_type](self._sink, self._schema)

    def add(self, chunk: Chunk, predictions: Predictions) -> bytes:
        """See `AnswerWriter`."""
        table = _table(chunk, predictions, self._schema)
        if chunk.errors:
            errors = _error_texts(chunk.errors)
            skipped = pa.table({"row": list(errors), "error": list(errors.values())})
            table = pa.concat_tables([table, skipped], promote_options="default").sort_by("row")
        self._writer.write_table(_without_formulas(table) if self._media_type == CSV else table)
        return self._sink.take()

    def end(self) -> bytes:
        """See `AnswerWriter`."""
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """What was written since it was last taken; knows its position, which Parquet's footer needs."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


_WRITERS: Final[dict[str, Callable[[_Sink, Any], Any]]] = {
    CSV: arrow_csv.CSVWriter,
    PARQUET: parquet.ParquetWriter,
    ARROW: pa.ipc.new_stream,
}


def _table(chunk: Chunk, predictions: Predictions, schema: pa.Schema) -> pa.Table:
    count = len(predictions)
    columns: dict[str, Any] = {
        "row": chunk.rows,
        "transaction_id": predictions.transactions.ids,
        "fraud": (predictions.decisions > 0).astype(np.int8),
        "hybrid_score": predictions.scores.hybrid,
        "threshold_used": predictions.alert_thresholds,
        "fraud_probability": predictions.scores.probability,
        "decision": pa.array(map(str, DECISIONS)).take(pa.array(predictions.decisions)),
        "model_version": predictions.model_versions,
        "prediction_id": pa.array(predictions.answered_ids, pa.string()),
        "kept": [predictions.kept] * count,
        "error": pa.nulls(count, pa.string()),
    }
    if _REASONS.name in schema.names:
        texts = {
            row: to_json({"reasons": explanation.reasons, "warnings": explanation.warnings}).decode()
            for row, explanation in predictions.explanations.items()
        }
        columns[_REASONS.name] = [texts.get(row) for row in range(count)]
    if _AMOUNT.name in schema.names:
        contract = predictions.model.contract
        known = contract.amount is not None
        columns[_AMOUNT.name] = (
            contract.amounts(predictions.transactions.raw) if known else pa.nulls(count, pa.float64())
        )
    return pa.table(columns, schema=schema)


def _without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before texts that spreadsheets would take for formulas.

    A transaction_id comes from whoever pays, and the answer is opened by whoever reviews:
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            safe = pc.replace_substring_regex(table[place], r"\A([=+\-@\t\r\n])", r"'\1")
            table = table.set_column(place, column, safe)
    return table


def _error_texts(errors: list[FieldError]) -> dict[int, str]:
    """Row to all of its faults in one line."""
    texts: dict[int, list[str]] = {}
    for error in errors:
        field = f"{error['field']}: " if "field" in error else ""
        texts.setdefault(error["row"], []).append(field + error["message"])
    return {row: "; ".join(parts) for row, parts in texts.items()}
