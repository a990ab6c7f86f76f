"""The steps as the command line and ``MLproject`` know them: each opens or finds its run and calls the work."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidBundle, Refused
from pipelines.console import console, step
from pipelines.data.ingest import IngestedFile, IngestedMeta, ingest, read_ingested
from pipelines.data.validation import validate, validate_on_spark
from pipelines.data.validation_report import ValidationReport
from pipelines.promotion.mover import open_stores
from pipelines.promotion.promote import Order, Promotion, promote
from pipelines.run_page import describe
from pipelines.settings import PipelineSettings
from pipelines.tracking import DATA_NAME_TAG, DONE_TAG, OUTCOME_TAG, Run, Tracker, run_address
from pipelines.training.study import require_storage
from pipelines.training.threshold import threshold
from pipelines.training.train import Measurement, train
from stores.releases import open_releases

LATEST = "latest"
DOCS = "data_docs"

EngineName = Literal["local", "spark"]
IngestedData = tuple[pd.DataFrame, IngestedMeta]
Suite = Callable[[Path], tuple[ValidationReport, IngestedMeta]]

DEFAULT_STARTS = (EnsembleSettings(),)


def run_ingest(
    settings: PipelineSettings,
    output: Path | None = None,
    engine: EngineName = "local",
    values: Mapping[str, tuple[str, ...]] | None = None,
) -> IngestedFile:
    """Read, clean and store the data that ``settings.data`` names, by default where the next steps look for it.

    ``values`` are what categories have learnt before.
    """

    def notice(text: str) -> None:
        console.print(f"[bold yellow]{text}[/bold yellow]")

    with step(f"ingest {settings.data}"):
        if engine == "spark":
            from pipelines.data.on_spark import ingest_on_spark

            ingested = ingest_on_spark(settings, output or settings.dataset_path, notice)
        else:
            ingested = ingest(
                settings.data,
                output or settings.dataset_path,
                settings.data_contract,
                cache=settings.state_dir / "cache",
                missing=settings.missing,
                simulated_rows=settings.simulated_rows,
                seed=settings.seed,
                s3_endpoint_url=settings.s3_endpoint_url,
                most_bytes=settings.ingest_max_mb * 1024**2,
                bounds=settings.event_time_bounds(datetime.now(UTC)),
                values=values,
                on_notice=notice,
            )
        report = ingested.meta.cleaning
        console.print(
            f"  {ingested.meta.name}: {report.rows_out:,} rows, {report.frauds} frauds; "
            f"{report.duplicates_dropped} duplicates dropped"
        )
        for note in report.notes:
            console.print(f"  {note}", markup=False)
    return ingested


def run_validate(settings: PipelineSettings, engine: EngineName = "local") -> None:
    """Validate the ingested data in a new run, with pandas or on Spark.

    Raises
    ------
    Refused
        When the suite fails.
    """
    with Tracker(settings).pipeline_run("validate") as run:
        _validate(run, _suite(settings, _data(settings, engine)), settings)


def run_train(settings: PipelineSettings, engine: EngineName = "local") -> Run:
    """Train on the ingested data in a new run, on this machine or on Spark."""
    with Tracker(settings).pipeline_run("train") as run:
        _train(run, settings, _data(settings, engine))
    return run


def run_threshold(settings: PipelineSettings, run_id: str = LATEST) -> Measurement:
    """Choose thresholds for a trained run and finish its model."""
    tracker = Tracker(settings)
    with tracker.answering():
        return threshold(settings, _find(tracker, run_id, "train"))


def run_promote(
    settings: PipelineSettings, run_id: str = LATEST, version: int | None = None, order: Order | None = None
) -> Promotion:
    """Put a finished run's model, or a registered version, through the gate."""
    tracker = Tracker(settings)
    with tracker.answering():
        if version is None:
            return promote(settings, tracker, _find(tracker, run_id, "threshold"), order=order or Order())
        candidate = open_stores(settings).registry.version(version)
        return promote(settings, tracker, tracker.run(candidate.run_id), candidate, order or Order())


def run_main(settings: PipelineSettings, engine: EngineName = "local") -> tuple[Run, Measurement, Promotion]:
    """All steps, in one parent run.

    Raises
    ------
    Refused
        When validation fails: nothing is trained then.
    """
    tracker = Tracker(settings)
    require_stores(settings)
    run_ingest(settings, engine=engine)
    with tracker.pipeline_run("main") as run:
        measured, promotion = complete_run(run, settings, tracker, _data(settings, engine))
    if measured is None:
        raise RuntimeError("the step threshold of a new run was skipped")
    return run, measured, promotion


def complete_run(
    run: Run,
    settings: PipelineSettings,
    tracker: Tracker,
    data: IngestedData | None,
    *,
    starts: Sequence[EnsembleSettings] = DEFAULT_STARTS,
    order: Order | None = None,
    before_step: Callable[[], object] = lambda: None,
) -> tuple[Measurement | None, Promotion]:
    """Do what is left of a run: validate, train and threshold, each once, then promote.

    Parameters
    ----------
    data : tuple of DataFrame and IngestedMeta, or None
        The ingested data; None where Spark reads them.
    starts : sequence of EnsembleSettings
        What tuning tries first.
    before_step : callable
        Called before each step that is not done yet; raises where the step must not begin.

    Returns
    -------
    Measurement or None
        The figures of the step ``threshold``; None where an earlier execution did it.
    Promotion
        How the promotion ended.

    Raises
    ------
    Refused
        When validation fails: nothing is trained then.
    """
    measured: list[Measurement] = []
    once(run, "validate", lambda: _validate(run, _suite(settings, data), settings), before_step)
    once(run, "train", lambda: _train(run, settings, data, starts), before_step)
    once(run, "threshold", lambda: measured.append(threshold(settings, run)), before_step)
    before_step()
    return (measured[0] if measured else None), promote(settings, tracker, run, order=order or Order())


def once(run: Run, name: str, work: Callable[[], object], before_step: Callable[[], object] = lambda: None) -> None:
    """Do a step of a run unless it is done already; ``work`` tags the run with `DONE_TAG` at its end."""
    if f"{DONE_TAG}{name}" in run.data.data.tags:
        console.print(f"  {name}: already done")
        return
    before_step()
    work()


def _validate(run: Run, suite: Suite, settings: PipelineSettings) -> None:
    """Validate as a part of a run."""
    with (
        step("validate"),
        run.timed("validate"),
        TemporaryDirectory() as scratch,
        run.child("validation", {"kind": "validation"}) as child,
    ):
        report, meta = suite(Path(scratch))
        child.log_folder(Path(scratch), DOCS)
        of_data = {"data.source": meta.source, "data.digest": meta.digest}
        child.log(
            metrics={**report.figures, "checks": len(report.checks), "failed": len(report.failures)},
            tags={**of_data, "validation.passed": report.success},
        )
        run.log(tags={**of_data, DATA_NAME_TAG: meta.name})
        console.print(f"  {len(report.checks)} expectations, {len(report.failures)} failed")
        if not report.success:
            run.log(tags={OUTCOME_TAG: "validation failed"})
            describe(run, settings, "The data failed validation; nothing was trained.")
            console.print(report.to_table())
            page = run_address(settings, child, f"{DOCS}/index.html")
            raise Refused("The data failed validation; nothing was trained.", f"See {page}")
    run.log(tags={f"{DONE_TAG}validate": "true"})


def _train(
    run: Run, settings: PipelineSettings, data: IngestedData | None, starts: Sequence[EnsembleSettings] = DEFAULT_STARTS
) -> None:
    """Train as a part of a run, on Spark where ``data`` is None."""
    if data is None:
        from pipelines.training.spark.engine import train_on_spark

        with run.timed("train"), run.watched():
            train_on_spark(run, settings, starts)
        return
    frame, meta = data
    run.log(params={"engine": "local"}, metrics=meta.cleaning.metrics)
    engine = LocalEngine(settings.seed, settings.threads, settings.folds)
    with run.timed("train"), run.watched():
        train(settings, run, Dataset.from_frame(frame, meta.resolved(settings.data_contract)), engine, meta, starts)


def _suite(settings: PipelineSettings, data: IngestedData | None) -> Suite:
    return partial(validate_on_spark, settings) if data is None else partial(_validated, settings, *data)


def _validated(
    settings: PipelineSettings, frame: pd.DataFrame, meta: IngestedMeta, folder: Path
) -> tuple[ValidationReport, IngestedMeta]:
    return validate(frame, meta.resolved(settings.data_contract), meta, folder), meta


def _data(settings: PipelineSettings, engine: EngineName) -> IngestedData | None:
    return None if engine == "spark" else read_ingested(settings.dataset_path, settings.data_contract)


def _find(tracker: Tracker, run_id: str, completed: str) -> Run:
    return tracker.latest(completed) if run_id == LATEST else tracker.run(run_id)


def require_stores(settings: PipelineSettings) -> None:
    """Try the study's database and the releases' place; the tracking server is tried by `Tracker`.

    Raises
    ------
    InvalidInput, Unavailable
        When one cannot be used, within seconds.
    """
    require_storage(settings.study)
    with suppress(InvalidBundle):  # the next promotion replaces a damaged pointer
        open_releases(settings.releases, settings.s3_endpoint_url).current()
