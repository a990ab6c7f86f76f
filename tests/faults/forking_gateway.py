"""``python -m serving`` whose children that unpack files are forked: their imports take a quarter of a second each.

A child has the descriptors, the environment, the limits and the code that it has otherwise. An end of one that
`serving.batch.unpacking` does not know of, a crash or an error without a name, is written to the gateway's log with the
file beside it.
"""

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.support.machine import ROOT

UNKNOWN = "unpacking ended by itself"
"""What the log says of such an end."""

_KNOWN = {0, 2, 3, 4, -signal.SIGKILL, -signal.SIGXCPU}
_MOST_TEXT, _MOST_BYTES = 65_536, 2**24


class _Fork:
    """What `unpacking` uses of `subprocess.Popen`."""

    server: socket.socket

    def __init__(self, args: list[str], stdin: int, stdout: int, **_as_the_server: Any) -> None:
        self.args, self.returncode, self._stdin = args, None, stdin
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self.server, ["\0".join(args[3:]).encode()], [stdin, stdout, theirs.fileno()])
        self._pid = int(self._end.recv(16))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()

    def communicate(self) -> tuple[None, bytes]:
        code, _, said = self._end.recv(_MOST_TEXT).partition(b"\0")
        self.returncode = int(code)
        if self.returncode not in _KNOWN:
            with tempfile.NamedTemporaryFile(prefix="unpacking-", delete=False) as kept:
                kept.write(os.pread(self._stdin, _MOST_BYTES, 0))
            sys.stderr.write(f"{UNKNOWN}: {self.returncode}, {kept.name}: {said.decode()}\n")
        return None, said

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)


def _serve_forks(requests: socket.socket) -> None:
    """What the process that the children are forked from does, until the gateway has ended."""
    from serving.batch import unpacking

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        arguments, descriptors, _, _ = socket.recv_fds(requests, _MOST_TEXT, 3)
        if not arguments:
            return
        file, target, end = descriptors
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(unpacking._main, arguments.decode().split("\0"), file, target, socket.socket(fileno=end))
        for each in (file, target, end):
            os.close(each)


def _run(main: Any, arguments: list[str], file: int, target: int, end: socket.socket) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for source, number in ((file, 0), (target, 1), (writing, 2)):
            os.dup2(source, number)
        os.closerange(3, 256)
        try:
            code = main(*arguments[:2], *map(int, arguments[2:]))
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    end.send(str(child).encode())
    with os.fdopen(reading, "rb") as errors:
        said = errors.read(_MOST_TEXT // 2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end.send(b"%d\0" % code + said)
    os._exit(0)


def main() -> None:
    from serving.batch import unpacking

    _Fork.server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "forks", str(theirs.fileno())],
            cwd=ROOT,
            env=unpacking._ENVIRONMENT,
            pass_fds=[theirs.fileno()],
        )
    unpacking.subprocess = SimpleNamespace(Popen=_Fork, PIPE=subprocess.PIPE)
    runpy.run_module("serving", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] == "forks":
        _serve_forks(socket.socket(fileno=int(sys.argv[2])))
    else:
        main()
