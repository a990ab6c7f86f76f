"""The listening socket."""

import socket

import pytest

from serving.process import listen


def test_answers_are_not_held_back() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_name_is_resolved() -> None:
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1"])
def test_foreign_addresses_are_refused(host) -> None:
    with pytest.raises(OSError):  # noqa: PT011 the system words it
        listen(host, 0)
