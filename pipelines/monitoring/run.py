"""The step ``monitor``: reads decisions, compares them with the baseline, writes a run, sends notices of a breach."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from ml_project.bundle import Manifest
from ml_project.errors import InvalidInput
from pipelines.console import error_console, row_progress, step
from pipelines.monitoring.challenger import Comparison, compare_challenger
from pipelines.monitoring.evidently_page import log_evidently
from pipelines.monitoring.expected import expected_quality
from pipelines.monitoring.figures import MonitorLimits, measure_by_label, watched_figures
from pipelines.monitoring.kept_decisions import KeptDecisions, ShadowPair, ShadowReader, read_by_version
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import MonitorReport, OtherVersion, emf_line, notify, takeovers_in, write_textfile
from pipelines.monitoring.skew import ServedSample, Skew, measure_skew
from pipelines.monitoring.window import Window
from pipelines.run_page import page_of
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, VERSION_TAG, DataPart, Run, Tracker, run_address
from stores.decisions import open_store
from stores.registry import PRODUCTION, ModelVersion, Registry

_TAG_LENGTH = 5_000
"""MLflow's limit for the value of a tag."""

PAGE = "monitor.html"

Pairs = dict[tuple[str, str], ShadowPair]


@dataclass(frozen=True)
class MonitorOutcome:
    """A monitoring run: its report, its MLflow run and where its page is seen, and who was notified."""

    report: MonitorReport
    run_id: str
    address: str
    notified: list[str]


def monitor(settings: PipelineSettings, window: Window, version: int | None, now: datetime) -> MonitorOutcome:
    """Watch a version's decisions in a window: by default the version with most of them, else Production.

    Raises
    ------
    InvalidInput
        When there is no decision database, no version to watch, or its bundle differs from the registry's digest.
    Unavailable
        When the database or MLflow does not answer.
    """
    limits = MonitorLimits.load(settings.monitor_limits)
    sample = ServedSample(limits.skew.decisions, settings.seed)
    decided, pairs = _read(settings, window, sample)
    registry = Registry(settings.mlflow_uri, settings.model_name)
    tracker = Tracker(settings.model_copy(update={"experiment": settings.monitoring_experiment}))
    chosen = _version(registry, decided, version)
    bundle = registry.bundle(chosen, require_digest=False)
    manifest = bundle.manifest
    name = str(chosen.version)
    takeovers = takeovers_in(window, decided)
    rows = decided.pop(name, None)
    with tracker.pipeline_run("monitor") as run, step(f"compare version {name} with its baseline", on=error_console):
        twin = tracker.run(chosen.run_id).data.data.metrics.get("test_average_precision") if chosen.run_id else None
        watched_rows = KeptDecisions.none(manifest.contract) if rows is None else rows
        report = MonitorReport(
            model_name=settings.model_name,
            version=name,
            window=window,
            made_at=now,
            hourly=manifest.drift_baseline.hourly,
            watched=watched_figures(watched_rows, manifest, window, limits),
            labelled=measure_by_label(watched_rows, window, now, settings, limits.labelled, twin),
            others=[
                OtherVersion.of(other, found, measure_by_label(found, window, now, settings, limits.labelled, None))
                for other, found in sorted(decided.items())
            ],
            expected=expected_quality(watched_rows, window, now, settings, limits.expected),
            challengers=_challengers(pairs, name, watched_rows, window, now, settings, limits),
            skew=_skew(sample, name, settings, manifest, window, limits),
            currency=settings.money,
            takeovers=takeovers,
        )
        drawn = False
        if settings.evidently and rows is not None:
            trained = tracker.run(chosen.run_id) if chosen.run_id else None
            judged = {figure.of: figure for figure in report.watched.figures if figure.name == "psi"}
            drawn = log_evidently(run, rows, bundle, trained, judged, settings.seed)
        _log(run, report, manifest, rows, chosen.model_id, drawn, registry)
        notified = notify(report, settings, run.id) if report.breaches else []
        run.log(tags={"notified": ", ".join(notified) or "none", f"{DONE_TAG}monitor": "true"})
    if settings.metrics_textfile is not None:
        write_textfile(report, settings.metrics_textfile)
    if settings.emf_namespace:
        _say(emf_line(report, settings.emf_namespace))
    return MonitorOutcome(report, run.id, run_address(settings, run, PAGE), notified)


def _read(settings: PipelineSettings, window: Window, sample: ServedSample) -> tuple[dict[str, KeptDecisions], Pairs]:
    contract = settings.data_contract
    with (
        open_store(settings.decisions_url, existing=True) as store,
        row_progress("decisions read", None, on=error_console) as on_rows,
    ):
        shadows = ShadowReader(store.shadow_of, store.contract_of, settings.seed)
        kept = _told(store.tables_by_event_time(contract, window.since, window.until), on_rows)
        return read_by_version(sample.passing(shadows.passing(kept)), store.contract_of, settings.seed), shadows.pairs


def _told(tables: Iterable[Any], on_rows: Callable[[int], None]) -> Iterator[Any]:
    for table in tables:
        yield table
        on_rows(table.num_rows)


def _skew(
    sample: ServedSample,
    version: str,
    settings: PipelineSettings,
    manifest: Manifest,
    window: Window,
    limits: MonitorLimits,
) -> Skew | None:
    with open_store(settings.decisions_url, existing=True) as store:
        return measure_skew(sample.of(version), store, settings, manifest.contract, window, limits.skew)


def _challengers(
    pairs: Pairs,
    champion: str,
    rows: KeptDecisions,
    window: Window,
    now: datetime,
    settings: PipelineSettings,
    limits: MonitorLimits,
) -> list[Comparison]:
    found = [
        compare_challenger(challenger, pair, pair.champion.rows / rows.rows, window, now, settings, limits.labelled)
        for (answering, challenger), pair in pairs.items()
        if answering == champion
    ]
    return sorted(found, key=lambda each: each.rows, reverse=True)


def _version(registry: Registry, decided: dict[str, KeptDecisions], version: int | None) -> ModelVersion:
    if version is not None:
        return registry.version(version)
    if decided:
        return registry.version(int(max(decided, key=lambda name: decided[name].rows)))
    champion = registry.resolve(PRODUCTION)
    if champion is None:
        raise InvalidInput("Nothing was decided in the window, and no version is Production.", "Give --version.")
    return champion


def _log(
    run: Run,
    report: MonitorReport,
    manifest: Manifest,
    rows: KeptDecisions | None,
    model_id: str,
    drawn: bool,
    registry: Registry,
) -> None:
    run.rename(report.title)
    run.log(
        params={"version": report.version, "window.since": report.window.since, "window.until": report.window.until},
        metrics={"breaches": len(report.breaches)},
        tags={
            "window": report.window.words,
            VERSION_TAG: report.version,
            "breached": str(bool(report.breaches)).lower(),
            "breaches": ", ".join(figure.metric for figure in report.breaches)[:_TAG_LENGTH] or "none",
            MLFLOW_RUN_NOTE: f"**{report.sentence}**\n\n[All figures]({page_of(run, 'artifacts/monitor.html')}) · "
            f"[version {report.version}](#/models/{report.model_name}/versions/{report.version})",
        },
    )
    watched = DataPart.of(
        f"decisions of version {report.version}", rows.digest if rows else "none", report.window.words
    )
    if rows is not None:
        run.log_dataset(rows.to_frame(manifest.contract), watched, "monitoring", round(rows.rows))
    moment = report.window.until
    run.log(metrics=report.own, model=model_id or None, data=watched, when=moment)
    for challenger in report.challengers[:1]:
        theirs, shared = challenger.own, {figure.metric: figure.value for figure in challenger.figures}
        other = registry.version(int(challenger.version)).model_id
        run.log(metrics=theirs, model=other or None, data=watched, when=moment)
        both = {name: challenger.estimates.get(name, value) for name, value in shared.items() if name not in theirs}
        run.log(metrics=both, when=moment)
    with TemporaryDirectory() as scratch:
        (Path(scratch) / PAGE).write_text(monitor_page(report, rows, run.id, drawn), encoding="utf-8")
        run.log_folder(Path(scratch), "")
    run.log_json(report.to_dict(), "monitor.json")


def _say(line: str) -> None:
    # Not to standard output, where --json goes; unwrapped, as CloudWatch's agents read it line by line.
    error_console.print(line, markup=False, soft_wrap=True)
