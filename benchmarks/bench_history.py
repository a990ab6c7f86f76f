"""Features of history for whole tables on one core: seconds, memory, growth with the rows, and one key against many.

All transactions of the handbook (see ../shared/data/README.md of the development machine) by contracts/cards.yaml;
where they are absent, as many simulated ones.

PYTHONPATH=. python benchmarks/bench_history.py
"""

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from ml_project.contract import Contract
from ml_project.contract_file import contract_named
from ml_project.dataset import with_history
from ml_project.history import Events, compute_history
from ml_project.simulator_cards import CardWorld, simulate_cards

EVENTS: Final = Path(__file__).parents[2] / "shared" / "data" / "handbook_events.parquet"
_DAYS: Final = 157
_NAMES: Final = {
    "TX_DATETIME": "at",
    "CUSTOMER_ID": "customer",
    "TERMINAL_ID": "terminal",
    "TX_AMOUNT": "amount",
    "TX_FRAUD": "fraud",
}


def transactions() -> tuple[pd.DataFrame, str]:
    """A clean table in time order, and where it is from."""
    if EVENTS.is_file():
        table = pd.read_parquet(EVENTS, columns=list(_NAMES)).rename(columns=_NAMES)
        return table.assign(at=table["at"].dt.tz_localize("UTC")), "the handbook's"
    return pd.concat(simulate_cards(CardWorld(days=_DAYS)), ignore_index=True), "simulated"


def peak_mb() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_for(table: pd.DataFrame, contract: Contract) -> float:
    """Seconds of the processor for one table, from the clean table to its columns of history."""
    begun = time.process_time()
    with_history(table, contract)
    return time.process_time() - begun


def one_key_or_many(contract: Contract, events: int, keys: int) -> float:
    """Seconds of the processor for events whose customers and terminals are ``keys`` different ones."""
    rng = np.random.default_rng(0)
    key = rng.integers(0, keys, events)
    drawn = Events(
        at=np.sort(rng.integers(0, _DAYS * 86_400_000_000, events)),
        keys={"customer": key, "terminal": key},
        amounts={"amount": rng.integers(0, 30_000, events)},
        present={"amount": np.ones(events, dtype=np.bool_)},
        codes={"terminal": rng.integers(0, 10_000, events)},
        fraud=rng.random(events) < 0.01,
    )
    begun = time.process_time()
    compute_history(contract, drawn)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the features of history of whole tables, on one core.")
    parser.add_argument("--events", type=int, default=1_000_000, help="of one key or many (default: %(default)s)")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    contract = contract_named("cards")
    table, source = transactions()
    before, wall = peak_mb(), time.perf_counter()
    seconds = seconds_for(table, contract)
    wall = time.perf_counter() - wall
    print(f"{len(table):,} transactions ({source}), {len(contract.history)} features of history")
    print(f"  {seconds:.1f} s of one core ({wall:.1f} s on the clock)")
    print(f"  {peak_mb():,.0f} MB at most, {before:,.0f} MB of them before it began")
    for share in (4, 2, 1):
        rows = len(table) // share
        seconds = seconds_for(table.head(rows), contract)
        print(f"  {rows:9,} rows: {seconds:5.2f} s, {seconds / rows * 1e6:.2f} µs each")
    for keys in (1, 1_000, options.events):
        seconds = one_key_or_many(contract, options.events, keys)
        print(f"  {options.events:,} events of {keys:9,} keys: {seconds:5.2f} s")


if __name__ == "__main__":
    main()
