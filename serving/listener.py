"""The socket that the gateway answers on, bound before all else starts: a port in use is then one clear message."""

import socket
from typing import Final

_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a name or address; port 0 takes a free one.

    The protocol is given explicitly, because asyncio sets TCP_NODELAY only on sockets that name theirs, and without it
    every answer waits 40 ms for the client's delayed acknowledgement (head and body are written apart).

    Raises
    ------
    OSError
        When the address is taken, not ours, or not allowed.
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
