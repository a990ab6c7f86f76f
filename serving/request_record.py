"""What is known about a request while it runs: its id, its start, and what its log line will say."""

import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Scope

HEADER: Final = "X-Request-ID"
_KEY = "fraud.request"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestRecord:
    """Filled while a request is worked on, logged at its end."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    message: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the request came in."""
        return round((time.perf_counter() - self.started) * 1000, 3)


def open_record(scope: Scope) -> RequestRecord:
    """A record for a request that has just come in; the client's own id is kept where it is harmless to log."""
    record = RequestRecord(_client_id(scope["headers"]) or f"req_{uuid.uuid4().hex[:16]}")
    scope[_KEY] = record
    return record


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request."""
    record: RequestRecord = scope[_KEY]
    return record


def _client_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode("ascii")
    return ""
