"""The command ``monitor``."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

BREACH = 4

Span = Annotated[str | None, typer.Option("--window", help="The last 24h, 90m, 7d; 24h unless --from is given.")]
Since = Annotated[str | None, typer.Option("--from", help="Begin, such as 2026-01-31 or 2026-01-31T18:00Z (UTC).")]
Until = Annotated[str | None, typer.Option("--to", help="End, itself outside; now by default.")]
Version = Annotated[int | None, typer.Option(help="Model version; by default the one that answered most.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")]


def monitor(
    window: Span = None, since: Since = None, until: Until = None, version: Version = None, as_json: Json = False
) -> None:
    """Compare a window of live decisions, by event time, with the model's baseline; exit 4 on a breach.

    Drift (PSI, KS, missing, out of range) of every feature and the score, the mix of decisions, volume and latency;
    once labels had time to come (FRAUD_LABEL_DELAY_DAYS), average precision, precision and recall at the alert budget,
    cost and calibration. Limits: pipelines/monitor.yaml. All of it goes into a run of the experiment fraud-monitoring
    with a page, monitor.html; a breach is told to FRAUD_NOTICE_TOPIC and FRAUD_NOTICE_WEBHOOK.

    Example: python -m pipelines monitor --from 2026-01-20 --to 2026-01-21
    """
    from pipelines.monitoring.run import monitor as run
    from pipelines.monitoring.window import window_of
    from pipelines.progress import console
    from pipelines.settings import PipelineSettings

    now = datetime.now(UTC)
    # `mlflow run` gives every parameter, empty ones too
    asked = window_of(window or None, since or None, until or None, now)
    found = run(PipelineSettings.model_validate({}), asked, version or None, now)
    if as_json:
        typer.echo(json.dumps({**found.report.to_dict(), "run_id": found.run_id}, indent=1))
    else:
        console.print(found.report.to_table())
        told = f"; told: {', '.join(found.told)}" if found.told else ""
        console.print(f"[bold]{found.report.sentence}[/bold]\nrun {found.run_id}{told}")
    if found.report.breaches:
        raise typer.Exit(BREACH)
