"""What is known about a request while it runs, and the log line that it ends in.

Logs are JSON lines on standard output, one object per event, in the shape that saved searches expect.
"""

import asyncio
import json
import logging
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from starlette.types import Scope


HEADER: Final = "X-Request-ID"
_KEY = "fraud.request"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestRecord:
    """Filled while a request is worked on, logged and counted at its end.

    Attributes
    ----------
    stages : dict
        Seconds spent in each stage.
    key_name : str or None
        Of the API key that it came with; None in open mode.
    decisions : list of int
        Rows scored so far, by place in ``serving.predictions.DECISIONS``.
    trial : bool
        What it predicts is kept as a trial.
    keep : bool
        What it predicts is kept.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    message: str = ""
    key_name: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    decisions: list[int] = field(default_factory=lambda: [0, 0, 0])
    trial: bool = False
    keep: bool = True

    @property
    def decides(self) -> bool:
        """Whether its answers are decisions: trials, and what is not kept, are none, as in the decision database."""
        return self.keep and not self.trial

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the request came in."""
        return round((time.perf_counter() - self.started) * 1000, 3)

    def spend(self, stage: str, since: float) -> None:
        """Add the time since a moment of ``time.perf_counter`` to a stage."""
        self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - since


_current: ContextVar[RequestRecord | None] = ContextVar("fraud_request", default=None)
"""For what is measured deep inside, on whatever thread: anyio's threads inherit it."""


def new_id() -> str:
    """An id for a request that brings none."""
    return f"req_{random.getrandbits(64):016x}"


def open_record(scope: "Scope") -> RequestRecord:
    """A record for a request that has just come in; the client's own id is kept where it is harmless to log."""
    record = RequestRecord(_client_id(scope["headers"]) or new_id())
    scope[_KEY] = record
    _current.set(record)
    return record


def record_of(scope: "Scope") -> RequestRecord:
    """The record of a request."""
    record: RequestRecord = scope[_KEY]
    return record


@dataclass(slots=True)
class stage:  # noqa: N801 - read as a statement: with stage("score")
    """Add the time spent inside to a stage of the request in progress; without a request it does nothing."""

    name: str
    started: float = 0.0

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        record = _current.get()
        if record is not None:
            record.spend(self.name, self.started)


@contextmanager
def measured_as(records: Iterable[RequestRecord]) -> Iterator[None]:
    """What is measured inside takes its time from each of these requests, whose decisions are counted elsewhere."""
    together = RequestRecord("")
    token = _current.set(together)
    try:
        yield
    finally:
        _current.reset(token)
        for record in records:
            for name, spent in together.stages.items():
                record.stages[name] = record.stages.get(name, 0.0) + spent


def count_decisions(counts: Iterable[int]) -> None:
    """Add rows scored to the request in progress, by place in ``serving.predictions.DECISIONS``."""
    record = _current.get()
    if record is not None:
        record.decisions = [before + more for before, more in zip(record.decisions, counts, strict=True)]


def _client_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode("ascii")
    return ""


class JsonLines(logging.Formatter):
    """``timestamp level message`` first, then what the event adds through ``extra={"fields": {...}}``.

    Parameters
    ----------
    worker : int, optional
        Which of several workers writes.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
            "logger": record.name,
            **self._worker,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


_ENCODER: Final = json.JSONEncoder(default=str)


class LinesByTurn(logging.StreamHandler[TextIO]):
    """Writes what is logged within one turn of the event loop at its end, and all else at once.

    A write for every line costs a request as much as its parsing.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._due: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or let the turn in progress write it."""
        try:
            self._lines.append(self.format(record))
            loop = asyncio._get_running_loop()
            if loop is None:
                self.flush()
            elif self._due is not loop:
                self._due = loop
                loop.call_soon(self._end)
        except Exception:
            self.handleError(record)

    def _end(self) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more, and there is nowhere else to say so
            self.flush()

    def flush(self) -> None:
        """Write all that waits."""
        with self.lock or nullcontext():
            self._due, lines = None, self._lines
            if lines:
                self._lines = []
                self.stream.write("\n".join([*lines, ""]))
        super().flush()


def configure_logging(level: str, worker: int | None = None) -> None:
    """Send everything, warnings of libraries included, through one handler."""
    # What no line shows need not be found out for each (the switches of Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LinesByTurn(sys.stdout)
    handler.setFormatter(JsonLines(worker))
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # lists its own parts at every start
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
