"""The engines: where the parts of a plan are scored.

On one machine a thread scores a part: ONNX Runtime, NumPy and Arrow release Python's lock. On Spark a task scores a
part: it reads its rows and keeps its files by itself, so that rows never pass through the Java machine; a task gets a
part's number and answers with its receipt. When an executor dies, its parts are scored again elsewhere and replace
their files with equal ones. Input and output must be reachable from every executor: S3, or a shared folder.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ml_project.bundle import BOOSTER_FILE, MANIFEST_FILE, ONNX_FILE, Bundle, Manifest
from ml_project.scorer import verified_scorer
from pipelines.data.places import open_place
from pipelines.scoring.parts import Receipt, receipt_name, score_part
from pipelines.scoring.plan import ScoringPart, ScoringPlan
from pipelines.scoring.rows import RowScorer
from pipelines.settings import PipelineSettings
from pipelines.spark_session import spark_session
from stores.objects import Objects

_LOOK_SECONDS: Final = 2.0
_scorers: dict[str, RowScorer] = {}
"""One per Python worker: Spark uses the worker again for the next task, so that a bundle is loaded once."""


class Stopped(Exception):  # not a FraudError: it ends the parts of other threads and is never shown
    """The job ended while this part was being scored."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    plan: ScoringPlan,
    todo: Sequence[ScoringPart],
    scorer: RowScorer,
    source: Objects,
    staging: Objects,
    on_rows: Callable[[int], None],
) -> Iterator[Receipt]:
    """Score parts on all cores; yields each receipt as its part is done."""
    stopped = False

    def report_rows(rows: int) -> None:
        if stopped:
            raise Stopped
        on_rows(rows)

    with ThreadPoolExecutor(cores(), "score") as pool:
        running = [pool.submit(score_part, plan, part, scorer, source, staging, report_rows) for part in todo]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            stopped = True
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class SparkJob:
    """What is sent to every executor once."""

    plan: ScoringPlan
    todo: tuple[ScoringPart, ...]
    bundle: dict[str, bytes]
    source: str
    staging: str
    endpoint_url: str

    def scorer(self) -> RowScorer:
        """The scorer, with one ONNX thread: Spark gives a task one core."""
        key = self.plan.fingerprint
        if key not in _scorers:
            manifest = Manifest.model_validate_json(self.bundle[MANIFEST_FILE])
            bundle = Bundle(manifest, self.bundle[ONNX_FILE], self.bundle[BOOSTER_FILE])
            scorer = verified_scorer(bundle, threads=1)
            _scorers.clear()
            _scorers[key] = RowScorer(scorer, self.plan.version, self.plan.carried)
        return _scorers[key]


def run_spark(
    settings: PipelineSettings,
    plan: ScoringPlan,
    todo: Sequence[ScoringPart],
    bundle: Bundle,
    source: Objects,
    staging: Objects,
    on_rows: Callable[[int], None],
) -> Iterator[Receipt]:
    """Score parts on Spark's executors; yields the receipts when all are done."""
    if not todo:
        return
    job = SparkJob(plan, tuple(todo), bundle.files, source.location, staging.location, settings.s3_endpoint_url)
    with spark_session(settings) as spark, ThreadPoolExecutor(1) as waiting:
        sent = spark.sparkContext.broadcast(job)
        numbers = spark.range(0, len(todo), 1, numPartitions=len(todo))
        answers = numbers.mapInArrow(_task(sent), "receipt binary")
        collected = waiting.submit(answers.collect)
        seen: set[str] = set(staging.names())
        while not wait([collected], _LOOK_SECONDS).done:
            seen = _report_finished(todo, staging, seen, on_rows)
        rows = collected.result()
        _report_finished(todo, staging, seen, on_rows)
    yield from (Receipt.from_bytes(bytes(row.receipt)) for row in rows)


def _task(sent: Any) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def score_parts(batches: Iterator[Any]) -> Iterator[Any]:
        job: SparkJob = sent.value
        source, staging = (open_place(each, job.endpoint_url) for each in (job.source, job.staging))
        for batch in batches:
            parts = [job.todo[place] for place in batch.column(0).to_pylist()]
            receipts = [score_part(job.plan, part, job.scorer(), source, staging).to_bytes() for part in parts]
            yield pa.RecordBatch.from_arrays([pa.array(receipts, pa.binary())], names=["receipt"])

    return score_parts


def _report_finished(
    todo: Sequence[ScoringPart], staging: Objects, seen: set[str], on_rows: Callable[[int], None]
) -> set[str]:
    """Report the parts finished since ``seen``, the names in the staging folder then; returns its names now."""
    held = set(staging.names())
    on_rows(sum(part.rows for part in todo if receipt_name(part) in held - seen))
    return held
