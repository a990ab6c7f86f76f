"""HTTP load from ``wrk``, a client in C: one in Python would take half of the processor that it measures.

Debian has it (``apt-get install wrk``). Files are sent on bare sockets.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

_BUFFER = 1 << 20
_SCRIPT = """
local next, requests = 0, {}
wrk.method = "POST"
for name, value in string.gmatch([=[%(headers)s]=], "([^:\\n]+): ([^\\n]+)") do wrk.headers[name] = value end
init = function()
  for line in io.lines("%(bodies)s") do requests[#requests + 1] = wrk.format(nil, "%(path)s", nil, line) end
end
request = function()
  next = next %% #requests + 1
  return requests[next]
end
done = function(summary, latency)
  local errors = summary.errors
  io.write("quantiles")
  for thousandth = 0, 1000 do io.write(" ", latency:percentile(thousandth / 10)) end
  io.write(string.format("\\nrequests %%d failed %%d microseconds %%d\\n", summary.requests,
    errors.status + errors.timeout + errors.read + errors.connect + errors.write, summary.duration))
end
"""


@dataclass(frozen=True)
class Target:
    """Where requests go, and the headers they carry."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """All headers but the length."""
        return (("Host", "127.0.0.1"), ("Content-Type", self.content_type), *self.headers)

    def request(self, body: bytes) -> bytes:
        """The bytes of one request."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.named)
        return f"POST {self.path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Measured:
    """How many requests were answered in how long, and the thousandths of their latencies in seconds."""

    requests: int
    seconds: float
    thousandths: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def milliseconds(self, quantile: float) -> float:
        """A quantile of the latencies."""
        return self.thousandths[round(quantile * 1000)] * 1000


def run(target: Target, bodies: Sequence[bytes], clients: int, seconds: float) -> Measured:
    """As many requests as ``clients`` connections, each waiting for its answer, get answered in some seconds.

    The requests are sent in their order, and after the last the first again.

    Raises
    ------
    RuntimeError
        When wrk is missing, or a request was not answered by a status below 400.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "bodies"), Path(folder, "load.lua")
        lines.write_bytes(b"\n".join(bodies))
        headers = "\n".join(f"{name}: {value}" for name, value in target.named)
        script.write_text(_SCRIPT % {"headers": headers, "bodies": lines, "path": target.path})
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script)]
        done = subprocess.run([*command, f"http://127.0.0.1:{target.port}"], capture_output=True, text=True, check=True)
    counted = re.search(r"requests (\d+) failed (\d+) microseconds (\d+)", done.stdout)
    quantiles = re.search(r"quantiles ([\d ]+)", done.stdout)
    if counted is None or quantiles is None or int(counted[2]) or not int(counted[1]):
        raise RuntimeError(f"{target.path}: {done.stdout[:500]}{done.stderr}")
    thousandths = tuple(int(each) / 1e6 for each in quantiles[1].split())
    return Measured(int(counted[1]), int(counted[3]) / 1e6, thousandths)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A kept-alive connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    """The body of the answer, which must be a 200.

    Raises
    ------
    RuntimeError
        For any other answer.
    """
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"answered {data[-600:]!r}")
    lower = head.lower()
    parts, got = [rest], len(rest)
    if b"transfer-encoding: chunked" in lower:
        while not parts[-1].endswith(b"0\r\n\r\n"):
            parts.append(_some(connection))
        return b"".join(parts)
    length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
    while got < length:
        part = _some(connection)
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def in_key_order(
    keys: Sequence[Sequence[Hashable]],
    act: Callable[[int], None],
    before: Callable[[int], None] = lambda _row: None,
    client: Callable[[], AbstractContextManager[None]] = nullcontext,
    clients: int = 16,
) -> None:
    """Do something for each row by several threads, in order wherever rows share a key.

    Parameters
    ----------
    keys : sequence of sequences of length n
        Of each kind of key, every row's.
    act : callable
        Is given a row's number once all earlier rows with a key of its were done.
    before : callable
        Is given each row's number, in order and by one thread at a time, before it begins.
    client : callable
        What a thread works within.
    """
    previous = [_previous(each) for each in keys]
    done = [threading.Event() for _ in keys[0]]
    rows, lock = iter(range(len(done))), threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with client():
                while not failures:
                    with lock:
                        row = next(rows, None)
                        if row is None:
                            return
                        before(row)
                    for earlier in previous:
                        if earlier[row] >= 0:
                            done[earlier[row]].wait()
                    act(row)
                    done[row].set()
        except BaseException as error:
            failures.append(error)
            for each in done:
                each.set()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _previous(keys: Sequence[Hashable]) -> list[int]:
    """The latest row before each one with the same key, -1 where there is none."""
    latest: dict[Hashable, int] = {}
    found = []
    for row, key in enumerate(keys):
        found.append(latest.get(key, -1))
        latest[key] = row
    return found


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(_BUFFER)
    if not part:
        raise RuntimeError("the server closed the connection")
    return part
