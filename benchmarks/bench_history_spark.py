"""Features of history of whole tables on Spark against those of one machine: seconds, and every bit compared.

Simulated customers at terminals (contracts/cards.yaml), by default ten million transactions.

PYTHONPATH=. python benchmarks/bench_history_spark.py [--rows 10000000]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml_project.contract_file import contract_named
from ml_project.dataset import events_of
from ml_project.history import compute_history
from ml_project.simulator_cards import CardWorld, simulate_cards
from pipelines.data.on_spark import with_history_on_spark
from pipelines.data.spark_tables import ROW_ORDER
from pipelines.settings import PipelineSettings
from pipelines.spark_session import spark_session

_PARTS: Final = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="(default: %(default)s)")
    options = parser.parse_args()
    contract = contract_named("cards")
    days = pd.concat(simulate_cards(CardWorld.of_rows(options.rows)), ignore_index=True)
    table = days.drop(columns="transaction").assign(at=days["at"].dt.as_unit("us").dt.tz_localize(None))
    del days
    begun = time.perf_counter()
    local = compute_history(contract, events_of(table, contract))
    print(f"{len(table):,} simulated transactions, {len(contract.history)} features of history", flush=True)
    print(f"  one machine: {time.perf_counter() - begun:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch, "given"), Path(scratch, "made")
        given.mkdir()
        for number, rows in enumerate(np.array_split(np.arange(len(table)), _PARTS)):
            part = pa.Table.from_pandas(table.iloc[rows], preserve_index=False)
            pq.write_table(
                part.append_column(ROW_ORDER, pa.array([f"{row:012}" for row in rows])), given / f"{number:02}.parquet"
            )
        count = len(table)
        del table
        settings = PipelineSettings(state_dir=Path(scratch))
        begun = time.perf_counter()
        with spark_session(settings) as spark:
            found = with_history_on_spark(spark.read.parquet(str(given)), contract, count)
            names = [feature.name for feature in contract.history]
            found.select(ROW_ORDER, *names).write.parquet(str(made))
        print(f"  Spark, its start included: {time.perf_counter() - begun:.0f} s", flush=True)
        different = compared = 0
        for path in sorted(made.glob("*.parquet")):
            part = pd.read_parquet(path)
            mine, its = local[part[ROW_ORDER].astype(int).to_numpy()], part[names].to_numpy(dtype=np.float64)
            different += int((~((mine == its) | (np.isnan(mine) & np.isnan(its))).all(axis=1)).sum())
            compared += len(part)
        print(f"  {compared:,} rows compared: {different} differ")


if __name__ == "__main__":
    main()
