"""The engine of one machine: threads, one part each. ONNX Runtime, NumPy and Arrow let go of Python's lock."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from pipelines.scoring.parts import Receipt, score_part
from pipelines.scoring.places import Place
from pipelines.scoring.plan import Part, Plan
from pipelines.scoring.rows import RowScorer


class Stopped(Exception):  # not a FraudError: it ends other threads' parts, and nobody sees it
    """The job is over for this part."""


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    plan: Plan,
    todo: Sequence[Part],
    scorer: RowScorer,
    source: Place,
    staging: Place,
    on_rows: Callable[[int], None],
) -> Iterator[Receipt]:
    """Score parts on all cores; their receipts as they are done."""
    stopped = False

    def told(rows: int) -> None:
        if stopped:
            raise Stopped
        on_rows(rows)

    with ThreadPoolExecutor(cores(), "score") as pool:
        running = [pool.submit(score_part, plan, part, scorer, source, staging, told) for part in todo]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            stopped = True
            pool.shutdown(wait=True, cancel_futures=True)
