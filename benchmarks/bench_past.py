"""What features from history cost a gateway: requests, files, events, and keys with few and with many transactions.

Three gateways on one machine are asked in turns: one without history (contracts/cards.yaml without what is made of it),
one with it, and one whose clients send the same features with every request, as where a bank has a feature store of
its own. SQLite, and PostgreSQL where it is installed. Keys, metrics and logs are on. The traffic is simulated, about
1,000 customers, in the order in which it comes: what they did in 60 days is in the database before, and each request
is a later transaction.

PYTHONPATH=. python benchmarks/bench_past.py [--seconds 8] [--rounds 3] [--busy 1000000] [--workers 1]
"""

import argparse
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
from benchmarks.gateway.reference import card_reference
from ml_project.bundle import Bundle
from ml_project.contract import Contract
from ml_project.contract_file import parse_contract
from ml_project.dataset import with_history
from ml_project.simulator_cards import CardWorld, simulate_cards
from pipelines.data.past_events import base_events
from stores.decisions import open_store
from stores.decisions.event_plan import EventPlan, event_id
from tests.support.servers import running_postgres

ROOT = Path(__file__).parents[1]
WORLD = CardWorld.of_rows(300_000, days=150)
PAST_DAYS = 60
ROWS = 10_000
GROUP = 5_000
KINDS = ("without", "with", "sent")


def contract_of(kind: str) -> Contract:
    """The contract cards, without history, with it, or with its features as fields."""
    text = (ROOT / "contracts" / "cards.yaml").read_text()
    text = text.replace("role: transaction_id,", "role: transaction_id, required: false,")
    if kind == "without":
        text = re.sub(rf"(?m)^  \w+: \{{(?:{_MADE}|ratio): .*\n", "", text)
    elif kind == "sent":
        made = re.findall(rf"(?m)^  (\w+): \{{(?:{_MADE}): .*\n", text)
        text = re.sub(rf"(?m)^  (\w+): \{{(?:{_MADE}): .*\n", r"  \1: {value: \1}\n", text)
        fields = "".join(f"  {name}: {{type: number, required: false, example: 1}}\n" for name in made)
        text = text.replace("\nlabel:", fields + "\nlabel:", 1)
    return parse_contract(text.encode(), "cards.yaml")


_MADE = "count|mean|maximum|distinct|seconds_since_last|fraud_rate|sum"


class Traffic:
    """Transactions as they come, and what is known before them.

    Attributes
    ----------
    past : DataFrame
        Clean rows with their labels.
    """

    def __init__(self) -> None:
        table = pd.concat(simulate_cards(WORLD), ignore_index=True)
        table = with_history(table, contract_of("with"))
        later = table["at"] >= table["at"].iloc[0].normalize() + pd.Timedelta(days=PAST_DAYS)
        self.past, self._later = table[~later], table[later].reset_index(drop=True)
        self._next = 0

    def take(self, rows: int) -> pd.DataFrame:
        """The next ones, with their features from history as of all before them; after the last, the first again."""
        places = (self._next + np.arange(rows)) % len(self._later)
        self._next += rows
        taken: pd.DataFrame = self._later.iloc[places]
        return taken


def columns(table: pd.DataFrame, kind: str, *, named: bool) -> pd.DataFrame:
    """What clients send of some transactions."""
    contract = contract_of(kind)
    names = [each.name for each in contract.fields if each.name in table and (named or each.role != "transaction_id")]
    return table[names].assign(at=table["at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def bodies(table: pd.DataFrame, kind: str) -> list[bytes]:
    """As single requests; nothing is named, so that each is new."""
    rows = columns(table, kind, named=False).to_dict("records")
    return [json.dumps({name: value for name, value in row.items() if value == value}).encode() for row in rows]


@contextmanager
def gateways(
    scratch: Path, database: str | None, traffic: Traffic, workers: int
) -> Iterator[dict[str, servers.RunningGateway]]:
    """One of each kind, with its past in its database."""
    with ExitStack() as stack:
        running: dict[str, servers.RunningGateway] = {}
        for kind in KINDS:
            contract = contract_of(kind)
            model = card_reference(contract, traffic.past)
            folder = scratch / kind
            folder.mkdir(parents=True)
            url = url_of(scratch, database, kind)
            bring_in(url, contract, traffic.past)
            running[kind] = stack.enter_context(start(folder, model.bundle, url, workers))
        yield running


def url_of(scratch: Path, database: str | None, kind: str) -> str:
    """The database of one of the gateways."""
    return f"{database}&dbname={kind}" if database else f"sqlite:///{scratch / kind}/decisions.db"


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
        for name in KINDS:
            server.configure(f'CREATE DATABASE "{name}"')
        measure("PostgreSQL", Path(scratch), server.url.replace("/postgres?", "/?"), options)


def measure(kind: str, scratch: Path, database: str | None, options: argparse.Namespace) -> None:
    traffic = Traffic()
    with gateways(scratch, database, traffic, options.workers) as running:
        print(f"\n{kind}, {options.workers} process(es) each, median of {options.rounds} rounds")
        singles(running, traffic, options)
        bulk(running, traffic, options)
        busy(running["with"], traffic, url_of(scratch, database, "with"), options)


def singles(running: dict[str, servers.RunningGateway], traffic: Traffic, options: argparse.Namespace) -> None:
    taken: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for clients, seconds in [(16, 2.0), *[(1, options.seconds), (16, options.seconds)] * options.rounds]:
        table = traffic.take(round(MOST_PER_SECOND[clients] * seconds))
        for name, gateway in running.items():
            cpu = gateway.cpu_seconds
            measured = load.run(gateway.target("/predict"), bodies(table, name), clients, seconds)
            each = (gateway.cpu_seconds - cpu) / measured.requests * 1000
            figures = measured.milliseconds(0.5), measured.milliseconds(0.99), each
            taken.setdefault((clients, name), []).append(figures)
    print("  POST /predict                        p50 ms   p99 ms   processor ms")
    for clients in (1, 16):
        warm = int(clients == 16)
        rows = {name: [median(each) for each in zip(*taken[clients, name][warm:], strict=True)] for name in running}
        for name, row in rows.items():
            print(f"    {clients:2} client(s), {name:8s} history   {row[0]:8.2f} {row[1]:8.2f} {row[2]:10.2f}")
        for name, words in (("without", "without history"), ("sent", "with its features sent")):
            more = rows["with"][1] - rows[name][1]
            print(f"      against {words}: p99 {more:+.2f} ms, processor {rows['with'][2] / rows[name][2] - 1:+.0%}")


MOST_PER_SECOND = {1: 1_200, 16: 4_000}
"""Requests that clients get answered at most: with fewer transactions, times would begin again."""


def bulk(running: dict[str, servers.RunningGateway], traffic: Traffic, options: argparse.Namespace) -> None:
    print(f"  {ROWS:,} rows in one request, rows/s")
    for path in ("/predict-batch", "/events"):
        for kind in ("application/json", "application/vnd.apache.parquet"):
            if path == "/events" and kind != "application/json":
                continue
            rates: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                table = traffic.take(ROWS)
                for name, gateway in running.items():
                    if path == "/predict-batch" or name == "with":
                        rates.setdefault(name, []).append(send(gateway, path, kind, columns(table, name, named=True)))
            shown = ", ".join(f"{name} {median(each):,.0f}" for name, each in rates.items())
            print(f"    {path:15s} {kind.rsplit('.')[-1]:18s} {shown}")


def send(gateway: servers.RunningGateway, path: str, kind: str, table: pd.DataFrame) -> float:
    if kind == "application/json":
        content = table.to_json(orient="records", double_precision=15).encode()
    else:
        content = table.assign(at=pd.to_datetime(table["at"])).to_parquet(index=False)
    headers = {"X-API-Key": gateway.key, "Content-Type": kind}
    begun = time.perf_counter()
    answer = httpx.post(f"http://127.0.0.1:{gateway.port}{path}", content=content, headers=headers, timeout=300)
    took = time.perf_counter() - begun
    if answer.status_code != 200:
        raise RuntimeError(answer.text[:500])
    return len(table) / took


def busy(gateway: servers.RunningGateway, traffic: Traffic, url: str, options: argparse.Namespace) -> None:
    """Keys with one transaction against one with very many within a month."""
    plan = EventPlan.of(contract_of("with"))
    table = traffic.take(3_000)
    begin = int(table["at"].iloc[0].timestamp() * 1e6) - 30 * 86_400_000_000
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
        keys = [key or f"new-{row}" for row in range(len(table))]
        return bodies(table.assign(customer=keys, terminal=keys), "with")

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
