"""Bulk predictions as one checksummed columnar segment per chunk, and the ids that lead back into it.

The content is an uncompressed Arrow stream: scores and principal components are noise to a compressor (Parquet with
zstd was 7 % smaller and took twice the time), and a row is read without decoding the others.

A row's prediction id is the segment's UUID with the row number in its last 24 bits. It looks like every other
prediction id (UUID version 7), sorts by time, and leads to its segment without an index row. 50 random bits remain to
tell apart segments of the same millisecond.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.contract_parts import OUTPUTS
from ml_project.errors import InvalidInput
from ml_project.policies import Decision
from stores.decisions.records import (
    TRIAL,
    DamagedSegment,
    DecisionRecord,
    KeptContract,
    Reasons,
    Source,
    Value,
    check_transaction_id,
    packed_texts,
    payload_digest,
)

MAX_ROWS: Final = 1 << 24
ROW_DIGITS: Final = 6
ID_LENGTH: Final = 36
EMPTY: Final = "0" * ROW_DIGITS
_PREDICTION_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_segment_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7) that ends in 24 zero bits."""
    drawn = int.from_bytes(os.urandom(7), "big")  # 56 bits, of which 12 + 38 are used
    high, low = drawn & 0xFFF, (drawn >> 12) & ((1 << 38) - 1)
    number = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low << 24
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def segment_prediction_ids(segment_id: str, rows: int) -> list[str]:
    """Ids of a segment's rows, in order."""
    prefix = segment_id[:-ROW_DIGITS]
    return [f"{prefix}{row:0{ROW_DIGITS}x}" for row in range(rows)]


def prediction_id_at(segment_id: str, row: int) -> str:
    """Id of one row."""
    return f"{segment_id[:-ROW_DIGITS]}{row:0{ROW_DIGITS}x}"


def locate(prediction_id: str) -> tuple[str, int] | None:
    """The segment and row that an id would belong to; None for what is no such id.

    An id has one spelling, lower-case digits: `int` would take capitals, signs, spaces and underscores for others.
    """
    if not _PREDICTION_ID.fullmatch(prediction_id):
        return None
    return prediction_id[:-ROW_DIGITS] + EMPTY, int(prediction_id[-ROW_DIGITS:], 16)


SHARED: Final = (
    "received_at",
    "alert_threshold",
    "decline_threshold",
    "model_version",
    "bundle_digest",
    "latency_ms",
    "request_id",
    "key_name",
    "history_partial",
    "source",
)
"""Fields that a segment has once for all its rows."""

APPROVE: Final = str(Decision.APPROVE)
"""As it stands in the database."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Scored rows of one bulk request, in order.

    Attributes
    ----------
    contract : KeptContract
    raw : ndarray of shape (n, fields)
        The values that are numbers, NaN where a field is a text.
    texts : mapping
        By field, the values of those that are texts, n of each.
    scores : ndarray of shape (4, n)
        Rows as in ``contract.OUTPUTS``.
    decisions : sequence of str
    transaction_ids : sequence of str or None, optional
        None where no row has one.
    event_times : sequence of datetime or None, optional
    reasons : mapping
        By row number, for the rows that have any.
    sample : collection of int, optional
        Approvals that go to review beside the alerts.
    sample_rate : float, optional
        The share of approvals that the sample was drawn at.
    history_partial : bool
    source : Source
        See `DecisionRecord`.
    """

    received_at: datetime
    contract: KeptContract
    raw: NDArray[np.float64]
    scores: NDArray[np.float64]
    decisions: Sequence[str]
    alert_threshold: float
    decline_threshold: float
    model_version: str
    bundle_digest: str
    latency_ms: float
    request_id: str
    key_name: str | None = None
    transaction_ids: Sequence[str | None] | None = None
    event_times: Sequence[datetime | None] | None = None
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    reasons: Mapping[int, Reasons] = field(default_factory=dict)
    sample: frozenset[int] = frozenset()
    sample_rate: float = 0.0
    history_partial: bool = False
    source: Source = "batch"
    segment_id: str = field(default_factory=new_segment_id)

    def __post_init__(self) -> None:
        if not 0 < len(self.raw) <= MAX_ROWS:
            raise InvalidInput(f"A chunk has 1 to {MAX_ROWS} rows, not {len(self.raw)}.")
        for transaction_id in filter(None, self.transaction_ids or ()):
            check_transaction_id(transaction_id)

    @cached_property
    def prediction_ids(self) -> list[str]:
        """Ids of the rows."""
        return segment_prediction_ids(self.segment_id, len(self.raw))

    @cached_property
    def shared(self) -> dict[str, Any]:
        """The columns that a segment has once for all rows."""
        return {name: getattr(self, name) for name in SHARED}

    @cached_property
    def review_rates(self) -> dict[int, float]:
        """Rows that go to review, in order, with what is kept as their review_rate; none of a trial."""
        if self.source == TRIAL:
            return {}
        sample = self.sample
        return {
            row: 1.0 if decision != APPROVE else self.sample_rate
            for row, decision in enumerate(self.decisions)
            if decision != APPROVE or row in sample
        }

    @property
    def event_span(self) -> tuple[datetime | None, datetime | None]:
        """When the earliest and the latest row happened, by receipt where a row does not say; None where none says."""
        given = [when or self.received_at for when in self.event_times or ()]
        return (min(given), max(given)) if given else (None, None)

    @cached_property
    def digests(self) -> dict[int, bytes]:
        """Payload digests of the rows that have a transaction_id."""
        ids, times = self.transaction_ids or (), self.event_times
        sent = self.raw.copy()
        sent[:, self.contract.computed] = 0.0
        numbers = np.ascontiguousarray(sent[:, self.contract.numbers], dtype="<f8")
        columns = [self.texts[self.contract.names[place]] for place in self.contract.texts]
        # as `pack_inputs` of each row, without taking it apart
        texts = map(packed_texts, zip(*columns, strict=True)) if columns else repeat(b"")
        return {
            row: payload_digest(packed.tobytes() + text, times[row] if times else None)
            for row, (transaction_id, packed, text) in enumerate(zip(ids, numbers, texts, strict=False))
            if transaction_id is not None
        }

    def inputs(self, row: int) -> tuple[Value, ...]:
        """The values of one row."""
        values: list[Value] = self.raw[row].tolist()
        for place in self.contract.texts:
            values[place] = self.texts[self.contract.names[place]][row]
        return tuple(values)

    def record(self, row: int) -> DecisionRecord:
        """One row as a record."""
        ids, times = self.transaction_ids, self.event_times
        return DecisionRecord(
            prediction_id=prediction_id_at(self.segment_id, row),
            contract=self.contract,
            inputs=self.inputs(row),
            decision=self.decisions[row],
            reasons=self.reasons.get(row),
            review_rate=self.review_rates.get(row),
            transaction_id=ids[row] if ids else None,
            event_time=times[row] if times else None,
            **dict(zip(OUTPUTS, self.scores[:, row].tolist(), strict=True)),
            **self.shared,
        )

    @cached_property
    def content(self) -> bytes:
        """The rows as an Arrow stream."""
        columns = dict(zip(self.contract.names, map(_float64, self.raw.T), strict=True))
        columns |= {name: pa.array(values, pa.string()) for name, values in self.texts.items()}
        columns |= dict(zip(OUTPUTS, map(_float64, self.scores), strict=True))
        if _MOMENT in columns:  # scored, too: kept once, as the moment
            columns[_MOMENT] = pa.nulls(len(self.raw), _TIME)
        columns["decision"] = pa.array(self.decisions, pa.string())
        if self.transaction_ids is not None:
            columns["transaction_id"] = pa.array(self.transaction_ids, pa.string())
        if self.event_times is not None:
            columns[_MOMENT] = pa.array(self.event_times, _TIME)
        if self.reasons:
            texts = [json.dumps(self.reasons[row]) if row in self.reasons else None for row in range(len(self.raw))]
            columns["reasons"] = pa.array(texts, pa.string())
        return write_stream(pa.table(columns))


def checksum(content: bytes) -> bytes:
    """SHA-256 of a segment's content."""
    return hashlib.sha256(content).digest()


def read_content(segment_id: str, content: bytes, sha256: bytes) -> Any:
    """A segment's rows as a ``pyarrow.Table``.

    Raises
    ------
    DamagedSegment
        When the bytes are not what was written.
    """
    if checksum(content) != sha256:
        raise DamagedSegment(f"Segment {segment_id} does not match its checksum.", "Restore it from a backup.")
    return read_stream(content)


def write_stream(table: Any) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read_stream(content: bytes) -> Any:
    """The table of an Arrow stream that was checked already."""
    return pa.ipc.open_stream(content).read_all()


def raw_fields_of(table: Any) -> list[str]:
    """Names of the raw fields among a segment's columns, in order: they are kept with the values."""
    return [name for name in table.column_names if name not in _OWN]


def numbers_of(table: Any, name: str) -> NDArray[np.float64]:
    """A column of a segment as it was scored: numbers, and of moments the seconds since 1970."""
    column = table.column(name)
    if column.type == _TIME:
        microseconds: NDArray[np.float64] = column.cast(pa.int64()).cast(pa.float64()).to_numpy()
        return microseconds / 1e6
    numbers: NDArray[np.float64] = column.to_numpy()
    return numbers


def raw_of(table: Any, contract: KeptContract) -> NDArray[np.float64]:
    """The numbers (n, fields) of a segment's rows, NaN in the places of texts."""
    raw = np.full((len(table), len(contract.fields)), np.nan)
    for place in contract.numbers:
        raw[:, place] = numbers_of(table, contract.names[place])
    return raw


_MOMENT: Final = "event_time"
_TIME: Final = pa.timestamp("us", "UTC")
_OWN: Final = frozenset((*OUTPUTS, "decision", "transaction_id", "event_time", "reasons"))


def record_at(
    segment_id: str, row: int, contract: KeptContract, shared: Mapping[str, Any], table: Any
) -> DecisionRecord:
    """One row of a segment's table as a record."""
    one = table.slice(row, 1)
    raw = raw_of(one, contract)[0].tolist()
    for place in contract.texts:
        raw[place] = one.column(contract.names[place])[0].as_py()
    values = one.select([name for name in one.column_names if name in _OWN]).to_pylist()[0]
    reasons = values.pop("reasons", None)
    return DecisionRecord(
        prediction_id=prediction_id_at(segment_id, row),
        contract=contract,
        inputs=tuple(raw),
        reasons=None if reasons is None else json.loads(reasons),
        **shared,
        **values,
    )


def _float64(values: NDArray[np.float64]) -> Any:
    buffer = pa.py_buffer(np.ascontiguousarray(values, dtype=np.float64))
    return pa.Array.from_buffers(pa.float64(), len(values), [None, buffer])
