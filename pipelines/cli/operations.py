"""The commands of daily operation: score, monitor, schedule, prune."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from ml_project.errors import InvalidInput
from pipelines.cli.options import DryRun, Engine, Yes, confirm, settings_with

Data = Annotated[str, typer.Option(help="A Parquet or CSV file, or a folder of them; also s3://.")]
Output = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix for the result.")]
ScoringVersion = Annotated[int | None, typer.Option(help="Model version; Production by default.")]
Replay = Annotated[bool, typer.Option("--replay", help="Score kept decisions again: what would change?")]
ReplaySince = Annotated[str | None, typer.Option("--from", help="Of --replay: begin, such as 2026-01-01 (UTC).")]
ReplayUntil = Annotated[str | None, typer.Option("--to", help="Of --replay: end, exclusive; now by default.")]


def score(
    data: Data = "",
    output: Output = "",
    engine: Engine = "local",
    version: ScoringVersion = None,
    replay: Replay = False,
    since: ReplaySince = None,
    until: ReplayUntil = None,
) -> None:
    """Score a whole table, of any size, in little memory: Parquet or CSV in, partitioned Parquet out.

    The input needs the fields of the contract; other columns are carried over. The output has a folder per decision
    (decision=DECLINE/), with scores, version, and each row's file and place in it. Rows that could not be scored are in
    _quarantine/ with the reasons. Counts and drift are in _job.json and in a run of the experiment fraud-scoring.

    If it is killed, the same command resumes with the missing parts; there is no output before the last part is done.
    Running it again after that changes nothing.

    --replay scores the gateway's decisions since --from (or, with --data, the files that `serving purge` exported) by
    --version, and says which decisions would change, with their amounts and the frauds that are known among them.

    Example: python -m pipelines score --data month.parquet --output scored/2026-01

    Example: python -m pipelines score --replay --version 8 --from 2026-01-01 --to 2026-02-01
    """
    if replay:
        _replay(data, output, engine, version, since, until)
        return
    if not data or not output:
        raise InvalidInput("score needs --data and --output.", "Give both, or --replay with --from.")
    if since or until:
        raise InvalidInput("--from and --to belong to --replay.")
    from pipelines.console import console, step
    from pipelines.scoring.run import score as run

    settings = settings_with()
    with step(f"score {data}"):
        scored = run(settings, data, output, engine, version)
    if scored.summary is None:
        console.print(f"{output} is complete already: {scored.job['rows']:,} rows, run {scored.job['run_id']}.")
        return
    console.print(scored.summary.to_table(settings.money))
    if scored.summary.drift_sentence:
        console.print(scored.summary.drift_sentence, style="yellow", markup=False)
    console.print(f"{scored.summary.metrics['rows_per_second']:,.0f} rows/s; {scored.address}")


def _replay(data: str, output: str, engine: str, version: int | None, since: str | None, until: str | None) -> None:
    if output or engine != "local":
        raise InvalidInput("--replay takes no --output and runs on this machine only.")
    if not since:
        raise InvalidInput("--replay needs --from.", "Write --from 2026-01-01.")
    from pipelines.console import console
    from pipelines.monitoring.window import window_of
    from pipelines.scoring.replay import run_replay

    window = window_of(None, since, until, datetime.now(UTC))
    settings = settings_with()
    found = run_replay(settings, window, data or None, version)
    console.print(found.replayed.to_table(settings.money))
    console.print(
        f"Under version {found.version}, {found.replayed.changed:,} of {found.replayed.rows:,} decisions would change "
        f"({window.words}).\n{found.address}"
    )


BREACH = 4

Span = Annotated[str | None, typer.Option("--window", help="The last 24h, 90m, 7d; 24h unless --from is given.")]
Since = Annotated[str | None, typer.Option("--from", help="Begin, such as 2026-01-31 or 2026-01-31T18:00Z (UTC).")]
Until = Annotated[str | None, typer.Option("--to", help="End, exclusive; now by default.")]
Version = Annotated[int | None, typer.Option(help="Model version; by default the one that answered most.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")]


def monitor(
    window: Span = None, since: Since = None, until: Until = None, version: Version = None, as_json: Json = False
) -> None:
    """Compare a window of live decisions, by event time, with the model's baseline; exit 4 on a breach.

    Drift (PSI, KS, missing, out of range) of every feature and the score, the mix of decisions, volume and latency;
    once labels have had time to arrive (FRAUD_LABEL_DELAY_DAYS), average precision, precision and recall at the alert
    budget, cost and calibration. Limits: pipelines/monitor.yaml. All of it goes into a run of the experiment
    fraud-monitoring with a page, monitor.html; a breach is reported to FRAUD_NOTICE_TOPIC and FRAUD_NOTICE_WEBHOOK.

    Example: python -m pipelines monitor --from 2026-01-20 --to 2026-01-21
    """
    from rich.text import Text

    from pipelines.console import console
    from pipelines.monitoring.run import monitor as run
    from pipelines.monitoring.window import window_of
    from pipelines.settings import PipelineSettings

    now = datetime.now(UTC)
    # `mlflow run` gives every parameter, empty ones too
    asked = window_of(window or None, since or None, until or None, now)
    found = run(PipelineSettings.model_validate({}), asked, version or None, now)
    if as_json:
        typer.echo(json.dumps({**found.report.to_dict(), "run_id": found.run_id}, indent=1))
    else:
        console.print(Text(found.report.sentence, "bold red" if found.report.breaches else "bold green"))
        for table in found.report.to_tables():
            console.print()
            console.print(table)
        if found.notified:
            console.print(f"\nnotified: {', '.join(found.notified)}")
        console.print(f"\n{found.address}")
    if found.report.breaches:
        raise typer.Exit(BREACH)


Cron = Annotated[
    str | None, typer.Option("--cron", help='When to retrain: "minute hour day month weekday", UTC; "0 3 * * *".')
]
MonitorCron = Annotated[str | None, typer.Option(help='When to monitor the last 24 hours; "15 * * * *" is hourly.')]


def schedule(cron: Cron = None, monitor_cron: MonitorCron = None) -> None:
    """Retrain and monitor by cron, in the foreground, until SIGTERM (exit 0) or Ctrl-C (exit 130).

    Without options it retrains on Mondays at 3:00 and monitors every day at 0:15 (UTC); with one of them it does that
    alone. Why once a week: docs/adr/0022-weekly-retraining.md.

    What is due is written to FRAUD_SCHEDULE_URL first and then done by a separate process, one of a kind at a time,
    so that a crash stops neither the scheduler nor what waits. Each run is one line: from when to when, its exit code,
    and when the next is due.

    What was missed while nothing ran is done once, if it is at most FRAUD_SCHEDULE_LATE_HOURS late. When it is told to
    stop, it stops its children, waits FRAUD_SCHEDULE_STOP_SECONDS for them, and starts interrupted jobs again at the
    next start. With FRAUD_RETRAIN_ON_BREACH=true a breach that monitor finds is followed by `retrain --reason drift`.

    Examples
    --------
    python -m pipelines schedule

    python -m pipelines schedule --cron "0 3 * * 1,4" --monitor-cron "15 * * * *"
    """
    from pipelines.schedule.run import MONITOR, RETRAIN, USUAL_CRONS, Scheduler
    from pipelines.settings import PipelineSettings

    crons = {name: line for name, line in ((RETRAIN, cron), (MONITOR, monitor_cron)) if line}
    Scheduler(PipelineSettings.model_validate({}), crons or USUAL_CRONS).run()


OlderThan = Annotated[str, typer.Option(help="Keep what began within this time, such as 30d or 12h.")]


def prune(older_than: OlderThan = "30d", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove runs, models, releases and studies that nothing needs any more, then their files with `mlflow gc`.

    What a registered version, an alias, the history or a retraining that is going on needs stays, and so does a run
    with the tag fraud.keep. Registered versions are never removed: every kept decision can be replayed.

    With an MLflow server FRAUD_MLFLOW_DATABASE_URL must name its database: `mlflow gc` works on that. Without it runs
    are put into MLflow's trash, and their files stay. If it is killed, the same command goes on where it was.

    Example: python -m pipelines prune --older-than 90d --dry-run
    """
    from pipelines.console import console
    from pipelines.monitoring.window import parse_span
    from pipelines.prune import Pruner

    pruner = Pruner(settings_with(), parse_span(older_than), datetime.now(UTC))
    plan = pruner.look()
    console.print(plan.to_table())
    if plan.empty:
        console.print("Nothing to remove.")
        return
    if dry_run:
        console.print("Nothing was removed: this was a dry run.")
        return
    confirm(yes, f"Remove {len(plan.runs):,} runs and their files for good?")
    if pruner.remove(plan):
        console.print(f"Removed; {sum(plan.bytes.values()):,} bytes are free.")
        return
    console.print(
        "Runs are in MLflow's trash; their files stay until `prune` knows MLflow's database "
        "(FRAUD_MLFLOW_DATABASE_URL), or `mlflow gc` runs beside the server."
    )
