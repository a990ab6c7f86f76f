"""HTTP load from ``wrk``, a client in C: one in Python would take half of the processor that it measures.

Debian has it (``apt-get install wrk``). Files are sent on bare sockets.
"""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BUFFER = 1 << 20
_BODIES = 1_000
"""As many different requests are sent in turn: a client's program of more would take its time to begin."""

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

    Raises
    ------
    RuntimeError
        When wrk is missing, or a request was not answered by a status below 400.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "bodies"), Path(folder, "load.lua")
        lines.write_bytes(b"\n".join(bodies[:_BODIES]))
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


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(_BUFFER)
    if not part:
        raise RuntimeError("the server closed the connection")
    return part
