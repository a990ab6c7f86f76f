"""FOLDER COUNT SEED: have `ingest` and `score` read as many tables with changed bytes, as they do before anything else.

Writes how often they were refused and taken, and the most memory in bytes. What is being read lies in FOLDER. A crash,
an error without a remedy or ten minutes without an end of one file is an exit code other than 0.
"""

import faulthandler
import gzip
import io
import os
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from ml_project.errors import FraudError
from pipelines.data.ingest import ingest
from pipelines.data.places import open_place
from pipelines.scoring.parts import read_part
from pipelines.scoring.plan import make_plan
from pipelines.scoring.rows import read_rows
from serving.batch import CSV, PARQUET
from tests.faults.fuzzing import changed, peak_memory, tables
from tests.support.creditcard import CREDITCARD

LONGEST_SECONDS = 600


def files() -> list[tuple[str, bytes]]:
    """Good tables, each as the ending of its name and its content."""
    endings = {PARQUET: "parquet", CSV: "csv"}
    found = [(endings[kind], content) for kind, content in tables(labelled=True) if kind in endings]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", found[-1][1])
    return [*found, ("csv.gz", gzip.compress(found[-1][1], mtime=0)), ("zip", packed.getvalue())]


def ingested(path: Path) -> None:
    ingest(str(path), path.with_name("ingested"), CREDITCARD, cache=path.with_name("cache"), on_notice=lambda _: None)


def scored(path: Path) -> None:
    """All of it but the scores."""
    plan = make_plan(str(path), "out", 1, "digest", CREDITCARD, "")
    for part in plan.parts:
        for rows in read_part(plan, part, open_place(str(path.parent), "")):
            read_rows(CREDITCARD, rows.batch)


def is_refused(read: Callable[[Path], None], path: Path) -> bool:
    try:
        read(path)
    except FraudError:
        return True
    return False


def main(folder: Path, count: int, seed: int) -> None:
    rng, good = random.Random(seed), files()
    refused = 0
    for _ in range(count):
        ending, content = rng.choice(good)
        path = folder / f"a.{ending}"
        path.write_bytes(changed(content, rng))
        faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
        refused += is_refused(ingested, path) + is_refused(scored, path)
    sys.stdout.write(f"{refused} {2 * count - refused} {peak_memory(os.getpid())}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
