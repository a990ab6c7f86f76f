"""What the light parent and the processes that serve share: exit codes, signals and the listening socket.

The socket is bound before all else starts: a port in use is then one clear message.
"""

import os
import signal
import socket
import sys
from types import FrameType
from typing import Final

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

GRACE_SECONDS: Final = 15
"""Requests in progress get this long after SIGTERM; then what was decided is flushed."""

END_SECONDS: Final = 24.0
"""Whatever hangs then is cut off."""

_EXIT_CODES: Final[dict[int, int]] = {signal.SIGTERM: DONE, signal.SIGINT: INTERRUPTED}


def stop_on_signals(*, importing: bool = False) -> None:
    """Let SIGTERM and Ctrl-C end the process by their exit codes, at whatever point of its start it is.

    While uvicorn serves it handles both, finishes its requests and raises the signal again, for these handlers.

    Parameters
    ----------
    importing : bool
        End at once, with nothing to clean up: C extensions turn an exception raised during their import into an
        ImportError.
    """
    for number in _EXIT_CODES:
        signal.signal(number, _exit_at_once if importing else _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(_EXIT_CODES[number])


def _exit_at_once(number: int, _frame: FrameType | None) -> None:
    os._exit(_EXIT_CODES[number])


_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a name or address; port 0 takes a free one.

    The protocol is given explicitly, because asyncio sets TCP_NODELAY only on sockets that name theirs, and without it
    every answer waits 40 ms for the client's delayed acknowledgement (head and body are written apart).

    Raises
    ------
    OSError
        When the address is taken, belongs to another machine, or is not allowed.
    """
    [(family, kind, protocol, _name, address), *_] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family, kind, protocol)
    try:
        # So that a restart need not wait for the old connections to time out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
