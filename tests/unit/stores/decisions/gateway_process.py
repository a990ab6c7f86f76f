"""A process that keeps decisions as a gateway does and prints the ids that it acknowledges; tests kill it.

Arguments: database URL, spool folder, number of the run, and optionally, in bytes, the largest file that it may write.
The spool then may hold as much.
"""

import resource
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

from ml_project.contract_file import contract_named
from ml_project.errors import Unavailable
from stores.decisions import (
    DecisionRecord,
    DecisionStore,
    GroupWriter,
    KeptContract,
    Outcome,
    Spool,
    Stored,
    migrate,
    open_engine,
)

KEPT = KeptContract.of(contract_named())


def record(caller: int, number: int, run: str) -> DecisionRecord:
    return DecisionRecord(
        prediction_id=f"run-{run}-{caller}-{number}",
        received_at=datetime.now(UTC),
        contract=KEPT,
        inputs=tuple(float(number + i) for i in range(30)),
        isolation_score=0.1,
        boosted_score=0.2,
        hybrid_score=0.3,
        fraud_probability=0.1,
        alert_threshold=0.5,
        decline_threshold=0.9,
        decision="APPROVE",
        model_version="1",
        bundle_digest="0" * 64,
        latency_ms=1.0,
        request_id="request",
        transaction_id=f"transaction-{run}-{caller}-{number}",
    )


def main(url: str, folder: str, run: str, largest_file: str | None = None) -> None:
    engine = open_engine(url)
    migrate(engine)
    spool = Spool(Path(folder)) if largest_file is None else Spool(Path(folder), max_bytes=int(largest_file))
    writer = GroupWriter(DecisionStore(engine), spool, retry_seconds=0.1)
    writer.start()
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))

    def call(caller: int) -> None:
        for number in range(100_000):
            told: SimpleQueue[Sequence[Outcome]] = SimpleQueue()
            writer.submit([record(caller, number, run)], told.put)
            [outcome] = told.get()
            if isinstance(outcome, Unavailable):
                sys.stdout.write(f"refused {outcome.status}\n")
                return
            assert isinstance(outcome, Stored)
            sys.stdout.write(f"{outcome.kept} {outcome.record.prediction_id}\n")
            sys.stdout.flush()

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
