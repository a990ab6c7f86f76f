"""Read kept decisions with their newest labels into a pandas frame, and show what alerts turned out to be.

    python examples/read_decisions.py
    python examples/read_decisions.py --days 30 --output decisions.parquet

The database is the one of the environment (FRAUD_DATABASE_URL, FRAUD_STATE_DIR). The columns are those of
`stores.decisions.archive.schema_of`: a row per transaction with its inputs, each of its field's type, scores,
thresholds, decision, version, label.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipelines.settings import PipelineSettings
from stores.decisions import open_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7, help="how far back to read (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write the frame to this Parquet file")
    options = parser.parse_args()
    settings, since = PipelineSettings(), datetime.now(UTC) - timedelta(days=options.days)
    with open_store(settings.decisions_url, existing=True) as store:
        tables = list(store.tables(settings.data_contract, since))
    if not tables:
        print("No decisions in that time.")
        return
    frame = pa.concat_tables(tables).to_pandas()
    outcome = frame["label"].map({1: "fraud", 0: "legitimate"}).fillna("not labelled")
    print(f"{len(frame):,} decisions from {frame['received_at'].min():%Y-%m-%d} on")
    print(frame.groupby(["decision", outcome]).size().unstack(fill_value=0).to_string())
    if options.output:
        frame.to_parquet(options.output)


if __name__ == "__main__":
    main()
