"""HTTP as clients may speak it: how many connections, how much of a header block and a body, and within which time.

uvicorn with httptools bounds none of these, so that one client could take the memory, the descriptors or the event loop
from all others. What never becomes a request is refused here, for every route and before anything else; further down is
what routes read of a request's body and of its types.
"""

import asyncio
import logging
import re
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from json import loads
from typing import TYPE_CHECKING, Any, Final

import httptools
import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ml_project.errors import InvalidInput
from serving.errors import BodyTooLarge, MalformedJson, NotAcceptable, UnsupportedMediaType, problem_response
from serving.settings import GatewaySettings
from serving.telemetry.request import new_id

if TYPE_CHECKING:
    from serving.large_bodies import Share


_FILES: Final = 256
"""Descriptors that connections leave to files, the database and imports."""

_PIPELINED: Final = 16
"""Requests that may wait for the answer to the one before them on their connection."""

_MANY_PARTS, _LEAST_PART_BYTES = 10_000, 64
"""From so many parts of a body on, they must have so many bytes on average: each costs more than its bytes."""

_LINGER_SECONDS, _LONGEST_LINGER_SECONDS = 2.0, 30.0
"""How long what a client still sends is thrown away after its answer, so that it can read that (RFC 9112, 9.6): the
former beyond what the slowest rate gives it, the latter in all.
"""

_TICK_SECONDS: Final = 1.0

_log = logging.getLogger("serving.connections")


class Connections:
    """All connections of a process, and the limits that they keep.

    A connection waits for its client, or its client for an answer. Where there are too many, one of the former makes
    room: first those that were never answered, in the order in which they came, then those whose last answer is the
    longest ago. So idle connections cannot keep clients out that ask for something.

    Parameters
    ----------
    settings : GatewaySettings

    Raises
    ------
    InvalidInput
        When the process may not open enough files.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.limits = settings
        self._most = most_connections(settings.max_connections)
        self._open: set[Any] = set()
        self._unanswered: dict[Connection, None] = {}
        self._answered: dict[Connection, None] = {}
        self._refused: Counter[str] = Counter()
        self._sweeping = False

    def protocol(self, **options: Any) -> "Connection":
        """What uvicorn makes of a new connection."""
        return Connection(self, **options)

    def add(self, connection: "Connection") -> None:
        """Take in a new one; another makes room for it, or it is refused when all others are being answered."""
        self._open = connection.connections
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(_TICK_SECONDS, self._sweep, connection.loop)
        if len(self._open) > self._most:
            first = next(iter(self._unanswered), None) or next(iter(self._answered), None)
            if first is None:
                connection.refuse(503, "There are too many connections. Try again in some seconds.")
                connection.transport.close()
                return
            self.remove(first)
            self._open.discard(first)
            self.count("made room")
            first.transport.abort()
        self._unanswered[connection] = None

    def rest(self, connection: "Connection") -> None:
        """One that was answered waits for its client again."""
        self._unanswered.pop(connection, None)
        self._answered[connection] = None

    def remove(self, connection: "Connection") -> None:
        """One that no longer waits for its client."""
        self._unanswered.pop(connection, None)
        self._answered.pop(connection, None)

    def count(self, outcome: str) -> None:
        """Note a refusal for the log, where a line a second says how many there were: a flood cannot fill it."""
        self._refused[outcome] += 1

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.check(now)
        if self._refused:
            _log.warning("Connections refused", extra={"fields": dict(self._refused)})
            self._refused.clear()
        self._sweeping = bool(self._open)
        if self._sweeping:
            loop.call_later(_TICK_SECONDS, self._sweep, loop)


def most_connections(wanted: int) -> int:
    """How many connections the process's descriptors suffice for; the system is asked for more where it has to be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft <= _FILES:
        raise InvalidInput(f"The process may open {soft} files only.", f"Allow at least {needed}: ulimit -n {needed}.")
    if soft < needed:
        _log.warning("only %d of %d connections: the process may open no more files (ulimit -n)", soft - _FILES, wanted)
    return min(wanted, soft - _FILES)


# What a connection does: between two requests, in a header block, in a body, working, or done but for what comes late.
_IDLE, _HEAD, _BODY, _WORK, _LATE = range(5)


class _RefusedError(Exception):
    """Raised to the parser, which wraps it and stops."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Connection(HttpToolsProtocol):
    """One client's connection: uvicorn's, within limits.

    Parameters
    ----------
    others : Connections
        All of the process, this one included.
    **options
        uvicorn's own.
    """

    def __init__(self, others: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._others = others
        self._limits = others.limits
        self._state = _HEAD
        self._since = 0.0
        self._unframed = 0  # bytes since the last end of a header block, or of a part of a body
        self._received = self._parts = 0  # of this request's body: bytes, and how many pieces they came in
        self._refused = False
        self._at_work: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn; then there may be one too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn, which tells the latest request only, where an earlier one may be at work."""
        self._others.remove(self)
        self._give_up(self._at_work)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _give_up(self, cycle: RequestResponseCycle | None) -> None:
        """Nothing more is written for this request."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """As uvicorn; header blocks, chunk extensions and trailers have an end."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        before = self._state
        self._unframed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as the plain request that it is, too
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _RefusedError):
                self.refuse(cause.status, str(cause))
            else:
                self.refuse(400, "This is not HTTP/1.1, or not as it should be. Let a client library write it.")
        if self._unframed > self._limits.max_header_bytes and not self._refused:
            self.refuse(431, self._too_long())
        elif self._state == _IDLE and self._unframed:
            self._state, self._since = _HEAD, self.loop.time()
        elif self._state == _BODY and before != _BODY:
            self._since = self.loop.time()

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= _PIPELINED:
            raise _RefusedError(400, "Too many requests came without waiting for answers. Read these in between.")
        self._unframed += 1  # its beginning may have come along with the request before it
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A request's header block is complete."""
        if len(self.headers) > self._limits.max_headers or (
            self._unframed > self._limits.max_header_bytes  # of which a body may be a part
            and len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            > self._limits.max_header_bytes
        ):
            raise _RefusedError(431, self._too_long())
        self._unframed = self._received = self._parts = 0
        self._state = _BODY
        super().on_headers_complete()
        self.scope["extensions"] = {WHOLE: partial(_answer_whole, self.cycle)}  # type: ignore[dict-item]
        self.headers = []  # for trailers, so that they never become headers of a request that was let in without them

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unframed = 0
        self._received += len(body)
        self._parts += 1
        if self._parts > _MANY_PARTS and self._received < self._parts * _LEAST_PART_BYTES:
            raise _RefusedError(
                400, f"The body has {_MANY_PARTS} chunks below {_LEAST_PART_BYTES} bytes. Send larger ones."
            )
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._unframed = 0
        if self._state == _LATE:
            self._rest()
        else:
            self._state = _WORK
            self._others.remove(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn; then it is the client's turn, unless its next request is there already."""
        if self.pipeline:
            self._since = self.loop.time()
        elif self._state == _BODY:
            self._late()
        else:
            self._rest()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read what it is answered."""
        self._since = self.loop.time()
        super().pause_writing()

    def refuse(self, status: int, detail: str) -> None:
        """Answer by a problem in the place of a request that will never be complete, and end the connection."""
        self._others.count(str(status))
        self._refused = True
        # With an answer under way, this one would be taken for a part of it.
        abrupt = bool(self.pipeline) or self._state in (_WORK, _LATE)
        if self.cycle is not None and not self.cycle.response_complete:
            abrupt = abrupt or self.cycle.response_started
        self._give_up(self._at_work)
        self._give_up(self.cycle)
        if abrupt or self.transport.is_closing():
            self.transport.abort()
            return
        answer = problem_response(status, detail, new_id(), headers={"Connection": "close"})
        lines = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        self.transport.write_eof()
        self._late()

    def check(self, now: float) -> None:
        """End it if its client's time is over; called once a second."""
        limits, waited = self._limits, now - self._since
        if self.flow.write_paused or self.transport.is_closing():
            if waited > limits.body_seconds:
                self.transport.abort()
        elif self._state == _HEAD and waited > limits.header_seconds:
            if self._unframed:
                self.refuse(408, f"The header block did not end within {limits.header_seconds:g} s. Send it at once.")
            else:
                self.transport.close()
        elif self._state == _BODY and self.flow.read_paused:
            self._since += _TICK_SECONDS  # it is us who are slow
        elif self._state == _BODY and waited > limits.body_seconds + self._received / limits.body_bytes_per_second:
            slowest = f"{limits.body_bytes_per_second} bytes per second"
            self.refuse(408, f"The body came slower than {slowest}. Send it faster, or in parts.")
        elif self._state == _LATE:
            allowed = _LINGER_SECONDS + self._received / limits.body_bytes_per_second
            if waited > min(allowed, _LONGEST_LINGER_SECONDS):
                self.transport.abort()

    def _late(self) -> None:
        self._state, self._since, self._received = _LATE, self.loop.time(), 0

    def _rest(self) -> None:
        self._state, self._since = _HEAD if self._unframed else _IDLE, self.loop.time()
        self._others.rest(self)

    def _too_long(self) -> str:
        most = f"{self._limits.max_header_bytes} bytes or {self._limits.max_headers} lines"
        return f"The header block is longer than {most}. Send fewer headers and a shorter address."


Headers = Iterable[tuple[bytes, bytes]]


WHOLE: Final = "serving.whole"
"""An extension of ASGI: send a whole answer, its head as bytes, in one piece."""


async def _answer_whole(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> None:
    """What `RequestResponseCycle.send` does with two messages, by one write, and without looking at our own headers."""
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    end = b"content-length: %d\r\n\r\n" if cycle.keep_alive else b"connection: close\r\ncontent-length: %d\r\n\r\n"
    cycle.transport.write(b"".join((STATUS_LINE[status], head, end % len(body), body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


async def json_body(headers: Headers, receive: Receive, max_bytes: int, share: "Share | None" = None) -> bytes:
    """The whole body of a request; what it takes of the room for all bodies goes into a share.

    Raises
    ------
    UnsupportedMediaType
        When the client does not say that it sends plain JSON.
    BodyTooLarge
        As soon as the announced or the received length passes ``max_bytes``.
    NoRoom
        As soon as there is no room for it.
    """
    said = _said(headers)
    if media_type_of(said.get(b"content-type", "")) != "application/json":
        raise UnsupportedMediaType("The body must be JSON.", "Send the header Content-Type: application/json.")
    _refuse_encoding(said.get(b"content-encoding", "identity"), "Send it plain.")
    _refuse_announced(said.get(b"content-length", "0"), max_bytes)
    parts, received, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        received += len(part)
        if received > max_bytes:
            raise too_large(max_bytes)
        if share is not None:
            share.grow(len(part))
        parts.append(part)
    return b"".join(parts)


def _said(headers: Headers) -> dict[bytes, str]:
    """What a request says of its body; of a header that comes twice, the first counts."""
    said: dict[bytes, str] = {}
    for name, value in headers:
        if name.startswith(b"content-"):
            said.setdefault(name, value.decode("latin-1"))
    return said


def refuse_encodings(request: Request, remedy: str) -> None:
    """Refuse a compressed body.

    Raises
    ------
    UnsupportedMediaType
    """
    _refuse_encoding(request.headers.get("content-encoding", "identity"), remedy)


def _refuse_encoding(encoding: str, remedy: str) -> None:
    if encoding.lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not supported.", remedy)


async def limited_stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in parts, as they come in.

    Raises
    ------
    BodyTooLarge
        As soon as the announced or the received length passes ``max_bytes``.
    """
    _refuse_announced(request.headers.get("content-length", "0"), max_bytes)
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield part


def _refuse_announced(length: str, max_bytes: int) -> None:
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large(max_bytes)


BOM: Final = b"\xef\xbb\xbf"
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_QUOTE: Final = 0x22

MOST_NESTED: Final = 16
"""How deep arrays and objects may lie in one another. What is deep costs a parser much, which stops everybody else."""

_STEPS: Final = np.zeros(256, np.int8)
_STEPS[[*b"[{"]], _STEPS[[*b"]}"]] = 1, -1


def json_depths(text: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The characters of JSON text and how deep each lies, brackets of its own included; strings are blanked out."""
    codes = np.frombuffer(_ESCAPED.sub(b"__", text) if b"\\" in text else text, np.uint8)
    plain = np.where(np.logical_xor.accumulate(codes == _QUOTE), np.uint8(0), codes)
    return plain, np.cumsum(_STEPS[plain], dtype=np.int32)


def _require_shallow(body: bytes) -> None:
    # brackets within strings count in the quick look, which is right for nearly all bodies
    if body.count(b"[") + body.count(b"{") <= MOST_NESTED:
        return
    if np.cumsum(_STEPS[np.frombuffer(body, np.uint8)], dtype=np.int32).max() > MOST_NESTED:
        _plain, depth = json_depths(body)
        if depth.max() > MOST_NESTED:
            raise MalformedJson(
                f"The body is not JSON as it is taken here: it is nested more than {MOST_NESTED} deep.",
                "Send flat objects.",
            )


def json_in(body: bytes) -> Any:
    """What a JSON body holds; a byte order mark before it does no harm.

    Raises
    ------
    MalformedJson
        When it is not JSON, is nested too deep, or an object has a key twice: which value the client means cannot be
        told.
    """
    _require_shallow(body)
    try:
        content = from_json(body.removeprefix(BOM), cache_strings="keys")
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from None
    # The text has more strings than what it was read as, if a key came twice.
    quotes = (_ESCAPED.sub(b"", body) if b"\\" in body else body).count(b'"')
    if quotes and quotes != 2 * _strings(content):
        loads(body.removeprefix(BOM), object_pairs_hook=_unique)
    return content


def _strings(value: Any) -> int:
    """How many strings a JSON value is written with, its keys included."""
    if isinstance(value, dict):
        return len(value) + sum(_strings(each) for each in value.values() if not isinstance(each, float))
    if isinstance(value, list):
        return sum(map(_strings, value))
    return isinstance(value, str)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    [(name, count), *_] = Counter(name for name, _value in pairs).most_common(1) or [("", 1)]
    if count > 1:
        raise MalformedJson(f"The body names {name[:64]!r} {count} times in one object.", "Send it once.")


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
