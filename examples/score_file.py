"""Score a CSV, Parquet or Arrow file over HTTP; rows that cannot be scored are skipped and counted.

    python examples/score_file.py transactions.csv scored.csv

Both sides are streamed, so the file may be larger than memory.
FRAUD_API_KEY holds the key where the gateway asks for one.
"""

import argparse
import csv
import os
import sys
from collections import Counter
from pathlib import Path

import httpx

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path, help=f"file to score ({', '.join(MEDIA_TYPES)})")
    parser.add_argument("scored", type=Path, help="CSV to write")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="its address (default: %(default)s)")
    options = parser.parse_args()
    headers = {"Content-Type": MEDIA_TYPES[options.transactions.suffix], "Accept": "text/csv"}
    if key := os.environ.get("FRAUD_API_KEY"):
        headers["X-API-Key"] = key
    partial = options.scored.with_suffix(".part")
    with (
        options.transactions.open("rb") as rows,
        httpx.Client(base_url=options.gateway, headers=headers, timeout=600) as client,
        client.stream("POST", "/predict-batch", params={"on_error": "skip"}, content=rows) as answer,
    ):
        if answer.is_error:
            answer.read()
            print(answer.json()["detail"], file=sys.stderr)
            return 2
        with partial.open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)
    partial.rename(options.scored)
    with options.scored.open(newline="") as file:
        decisions = Counter(row["decision"] or "skipped" for row in csv.DictReader(file))
    for decision, count in decisions.most_common():
        print(f"{decision:8s} {count:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
