"""What features from history cost a gateway: requests, files, events, and keys with few and with many transactions.

Two gateways on one machine, with and without them in the contract (contracts/cards.yaml, and the same without what is
made of its history), are asked in turns: SQLite, and PostgreSQL where it is installed. Keys, metrics and logs are on;
60,000 transactions are in the database before.

PYTHONPATH=. python benchmarks/bench_past.py [--seconds 8] [--rounds 3] [--busy 1000000] [--workers 1]
"""

import argparse
import itertools
import json
import logging
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import pandas as pd
import pytest

from benchmarks.gateway import load, servers
from benchmarks.gateway.reference import ROWS as REFERENCE_ROWS
from benchmarks.gateway.reference import card_reference
from ml_project.bundle import Bundle
from ml_project.contract import Contract
from ml_project.contract_file import parse_contract
from ml_project.simulator_cards import CardWorld, simulate_cards
from pipelines.data.past_events import base_events
from stores.decisions import open_store
from stores.decisions.event_plan import EventPlan, event_id
from tests.support.servers import running_postgres

ROOT = Path(__file__).parents[1]
ROWS = 10_000
GROUP = 5_000


def contract_of(*, history: bool) -> Contract:
    """The contract cards, whose transactions need no name here, so that a request can be sent again as a new one."""
    text = (ROOT / "contracts" / "cards.yaml").read_text()
    text = text.replace("role: transaction_id,", "role: transaction_id, required: false,")
    if not history:
        made = "|".join(("count", "mean", "maximum", "distinct", "seconds_since_last", "fraud_rate", "sum", "ratio"))
        text = re.sub(rf"(?m)^  \w+: \{{(?:{made}): .*\n", "", text)
    return parse_contract(text.encode(), "cards.yaml")


@contextmanager
def gateways(scratch: Path, database: str | None, workers: int) -> Iterator[dict[str, servers.RunningGateway]]:
    """One with and one without history, each with its past in its database."""
    with ExitStack() as stack:
        running: dict[str, servers.RunningGateway] = {}
        for name, contract in (("without", contract_of(history=False)), ("with", contract_of(history=True))):
            model, table = card_reference(contract)
            folder = scratch / name
            folder.mkdir(parents=True)
            url = f"{database}&dbname={name}" if database else f"sqlite:///{folder}/decisions.db"
            bring_in(url, contract, table)
            running[name] = stack.enter_context(start(folder, model.bundle, url, workers))
        yield running


def start(folder: Path, bundle: Bundle, url: str, workers: int) -> AbstractContextManager[servers.RunningGateway]:
    return servers.gateway(folder, bundle, FRAUD_DATABASE_URL=url, FRAUD_WORKERS=str(workers), FRAUD_CONTRACT="cards")


def bring_in(url: str, contract: Contract, table: pd.DataFrame) -> None:
    plan = EventPlan.of(contract)
    if not plan.series:
        return
    with open_store(url) as store:
        events = base_events(plan, table)
        for begin in range(0, len(events), GROUP):
            store.add_events(plan, events[begin : begin + GROUP])


def following(seed: int, rows: int, *, named: bool, day: int = 0) -> pd.DataFrame:
    """Transactions of a day after those that are known, by the same customers at the same terminals."""
    world = CardWorld.of_rows(REFERENCE_ROWS)
    known = pd.concat(simulate_cards(world), ignore_index=True)
    rng = np.random.default_rng(seed)
    table = known.iloc[np.sort(rng.integers(0, len(known), rows))][["customer", "terminal", "amount"]]
    seconds = day * 86_400 + np.sort(rng.integers(0, 86_400, rows))
    moments = known["at"].max() + pd.to_timedelta(seconds, unit="s")
    table = table.assign(at=moments.strftime("%Y-%m-%dT%H:%M:%SZ")).reset_index(drop=True)
    return table.assign(transaction=[f"{seed}-{row}" for row in range(rows)]) if named else table


def bodies(table: pd.DataFrame) -> list[bytes]:
    return [json.dumps(row).encode() for row in table.to_dict("records")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes of a gateway (default: %(default)s)")
    parser.add_argument(
        "--busy", type=int, default=1_000_000, help="transactions of the busy key (default: %(default)s)"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        measure("SQLite", Path(scratch) / "sqlite", None, options)
    with suppress(pytest.skip.Exception), running_postgres() as server, tempfile.TemporaryDirectory() as scratch:
        for name in ("without", "with"):
            server.configure(f'CREATE DATABASE "{name}"')
        measure("PostgreSQL", Path(scratch), server.url.replace("/postgres?", "/?"), options)


def measure(kind: str, scratch: Path, database: str | None, options: argparse.Namespace) -> None:
    with gateways(scratch, database, options.workers) as running:
        print(f"\n{kind}, {options.workers} process(es) each, median of {options.rounds} rounds")
        singles(running, options)
        bulk(running, options)
        busy(running["with"], scratch, database, options)


def singles(running: dict[str, servers.RunningGateway], options: argparse.Namespace) -> None:
    requests = bodies(following(1, 5_000, named=False))
    taken: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for gateway in running.values():
        load.run(gateway.target("/predict"), requests, 16, 2)
    for _ in range(options.rounds):
        for clients in (1, 16):
            for name, gateway in running.items():
                cpu = gateway.cpu_seconds
                measured = load.run(gateway.target("/predict"), requests, clients, options.seconds)
                each = (gateway.cpu_seconds - cpu) / measured.requests * 1000
                taken.setdefault((clients, name), []).append(
                    (measured.milliseconds(0.5), measured.milliseconds(0.99), each)
                )
    print("  POST /predict                        p50 ms   p99 ms   processor ms")
    for clients in (1, 16):
        rows = {name: [median(each) for each in zip(*taken[clients, name], strict=True)] for name in running}
        for name, row in rows.items():
            print(f"    {clients:2} client(s), {name:8s} history   {row[0]:8.2f} {row[1]:8.2f} {row[2]:10.2f}")
        more = rows["with"][1] - rows["without"][1]
        print(f"      p99 +{more:.2f} ms, processor {rows['with'][2] / rows['without'][2] - 1:+.0%}")


def bulk(running: dict[str, servers.RunningGateway], options: argparse.Namespace) -> None:
    print(f"  {ROWS:,} rows in one request, rows/s")
    days = itertools.count(1)  # one file after the other, as traffic comes
    for path in ("/predict-batch", "/events"):
        for kind in ("application/json", "application/vnd.apache.parquet"):
            if path == "/events" and kind != "application/json":
                continue
            rates: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                day = next(days)
                for name, gateway in running.items():
                    if path == "/events" and name == "without":
                        continue
                    table = following(100 + day, ROWS, named=True, day=day)
                    rates.setdefault(name, []).append(send(gateway, path, kind, table))
            shown = ", ".join(f"{name} {median(each):,.0f}" for name, each in rates.items())
            print(f"    {path:15s} {kind.rsplit('.')[-1]:18s} {shown}")


def send(gateway: servers.RunningGateway, path: str, kind: str, table: pd.DataFrame) -> float:
    if kind == "application/json":
        content = json.dumps(table.to_dict("records")).encode()
    else:
        content = table.assign(at=pd.to_datetime(table["at"])).to_parquet(index=False)
    headers = {"X-API-Key": gateway.key, "Content-Type": kind}
    begun = time.perf_counter()
    answer = httpx.post(f"http://127.0.0.1:{gateway.port}{path}", content=content, headers=headers, timeout=300)
    took = time.perf_counter() - begun
    if answer.status_code != 200:
        raise RuntimeError(answer.text[:500])
    return len(table) / took


def busy(gateway: servers.RunningGateway, scratch: Path, database: str | None, options: argparse.Namespace) -> None:
    """Keys with one transaction against one with very many within a month."""
    plan = EventPlan.of(contract_of(history=True))
    url = f"{database}&dbname=with" if database else f"sqlite:///{scratch}/with/decisions.db"
    begin = int(pd.Timestamp("2018-05-31", tz="UTC").timestamp() * 1e6)
    step = 30 * 86_400_000_000 // options.busy
    rng = np.random.default_rng(3)
    with open_store(url) as store:
        begun = time.perf_counter()
        for start_at in range(0, options.busy, GROUP):
            rows = range(start_at, min(start_at + GROUP, options.busy))
            given = {
                "customer": ["busy"] * len(rows),
                "terminal": [f"b{each}" for each in rng.integers(0, 100, len(rows))]
                if rows[0] % 2
                else ["busy"] * len(rows),
                "amount": (rng.integers(100, 20_000, len(rows)) / 100).tolist(),
            }
            names = [event_id("cards", f"busy-{row}", "") for row in rows]
            store.add_events(plan, list(plan.events(names, [begin + row * step for row in rows], given)))
        took = time.perf_counter() - begun
        print(f"  {options.busy:,} transactions of one customer at one terminal kept in {took:.0f} s")

    def asked(key: str) -> list[bytes]:
        table = following(7, 3_000, named=False)
        return bodies(
            table.assign(customer=key, terminal=key)
            if key
            else table.assign(
                customer=[f"new-{row}" for row in range(len(table))],
                terminal=[f"new-{row}" for row in range(len(table))],
            )
        )

    load.run(gateway.target("/predict"), asked("busy")[:1], 1, 1)
    for _ in range(options.rounds):
        for name in ("", "busy"):
            cpu = gateway.cpu_seconds
            measured = load.run(gateway.target("/predict"), asked(name), 1, options.seconds)
            each = (gateway.cpu_seconds - cpu) / measured.requests * 1000
            print(
                f"    {name or 'new keys':10s} p50 {measured.milliseconds(0.5):.2f} ms, "
                f"p99 {measured.milliseconds(0.99):.2f} ms, processor {each:.2f} ms"
            )


if __name__ == "__main__":
    main()
