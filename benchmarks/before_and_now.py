"""Two states of the gateway in turns: latencies and rates of ``POST /predict`` by ``wrk``, and of uploaded files.

Run: PYTHONPATH=. python benchmarks/before_and_now.py --before ../before [--rounds 5] [--seconds 8] [--json FILE]

``--before`` is another checkout, such as one that `git worktree add ../before REVISION` makes. Each state serves the
reference bundle that its own code makes, with keys, SQLite, metrics and logs on. They are measured in turns, so that a
noisy machine is as noisy for both; what counts is the ratio.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml_project.simulator import FIELDS, simulate

ROOT = Path(__file__).resolve().parents[1]
BODIES = 500
UPLOADED_ROWS = 100_000
_SERVE = """
import json, sys, tempfile
from pathlib import Path
from benchmarks.gateway import servers
from benchmarks.gateway.reference import reference
model = reference()
with tempfile.TemporaryDirectory() as folder, servers.gateway(Path(folder), model.bundle) as running:
    bodies = [body.decode() for body in model.transactions[:int(sys.argv[1])]]
    print(json.dumps({"port": running.port, "key": running.key, "bodies": bodies}), flush=True)
    sys.stdin.read()
"""
_SCRIPT = """
local bodies, next = %s, 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = "%s"
request = function()
  next = next %% #bodies + 1
  return wrk.format(nil, "/predict", nil, bodies[next])
end
done = function(summary, latency)
  io.write(string.format("p50 %%d p99 %%d requests %%d errors %%d duration %%d\\n", latency:percentile(50),
    latency:percentile(99), summary.requests, summary.errors.status + summary.errors.timeout, summary.duration))
end
"""


@dataclass(frozen=True)
class State:
    """A running gateway of one checkout, and the wrk script that asks it."""

    name: str
    port: int
    key: str
    script: Path

    def upload(self, media_type: str, content: bytes) -> float:
        """Rows per second of one file to ``POST /predict-batch``, answered as Parquet."""
        headers = {"X-API-Key": self.key, "Content-Type": media_type, "Accept": "application/vnd.apache.parquet"}
        begun = time.monotonic()
        httpx.post(
            f"http://127.0.0.1:{self.port}/predict-batch", content=content, headers=headers, timeout=300
        ).raise_for_status()
        return UPLOADED_ROWS / (time.monotonic() - begun)

    def load(self, clients: int, seconds: float) -> dict[str, float]:
        """Latencies in milliseconds, and requests per second.

        Raises
        ------
        RuntimeError
            When a request was not answered by 200.
        """
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "-s", str(self.script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self.port}"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"p50 (\d+) p99 (\d+) requests (\d+) errors (\d+) duration (\d+)", done)
        if found is None or int(found[4]) or not int(found[3]):
            raise RuntimeError(f"{self.name}: {done}")
        p50, p99, requests, _, duration = map(int, found.groups())
        return {"p50": p50 / 1000, "p99": p99 / 1000, "rate": requests / duration * 1e6}


@contextmanager
def running(name: str, checkout: Path, scratch: Path) -> Iterator[State]:
    """The gateway of a checkout, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(BODIES)],
        cwd=checkout,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(checkout), "HOME": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        script = scratch / f"{name}.lua"
        bodies = "{" + ",".join(f"[=[{body}]=]" for body in said["bodies"]) + "}"
        script.write_text(_SCRIPT % (bodies, said["key"]))
        yield State(name, said["port"], said["key"], script)
    finally:
        process.stdin.close()
        process.wait(60)


def files() -> dict[str, tuple[str, bytes]]:
    """What is uploaded, by kind: simulated transactions of the contract creditcard, as CSV and as Parquet."""
    (chunk,) = simulate(UPLOADED_ROWS, seed=1)
    table = pa.table({name: chunk.raw[:, place] for place, name in enumerate(FIELDS)})
    text, columns = io.BytesIO(), io.BytesIO()
    pyarrow.csv.write_csv(table, text)
    pyarrow.parquet.write_table(table, columns)
    return {
        "CSV": ("text/csv", text.getvalue()),
        "Parquet": ("application/vnd.apache.parquet", columns.getvalue()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the other state")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every measurement (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is missing: apt-get install wrk")
    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        states = [
            stack.enter_context(running(name, checkout, Path(scratch)))
            for name, checkout in (("before", options.before.resolve()), ("now", ROOT))
        ]
        uploaded = files()
        for state in states:
            state.load(16, 2)
        for _ in range(options.rounds):
            for state in states:
                one, many = state.load(1, options.seconds), state.load(16, options.seconds)
                taken = {
                    "p50 at 1 client, ms": one["p50"],
                    "p99 at 1 client, ms": one["p99"],
                    "p50 at 16 clients, ms": many["p50"],
                    "requests/s at 16 clients": many["rate"],
                    **{f"{kind}, rows/s": state.upload(*each) for kind, each in uploaded.items()},
                }
                for what, value in taken.items():
                    figures.setdefault(what, {}).setdefault(state.name, []).append(value)
    print(f"{'median of ' + str(options.rounds) + ' rounds':28s}{'before':>12s}{'now':>12s}{'now / before':>14s}")
    for what, both in figures.items():
        before, now = median(both["before"]), median(both["now"])
        ratios = [b / a for a, b in zip(both["before"], both["now"], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what:28s}{before:12,.2f}{now:12,.2f}{now / before:14.2f}  ({spread})")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
