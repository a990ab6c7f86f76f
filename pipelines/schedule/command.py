"""The command ``schedule``."""

from typing import Annotated

import typer

from ml_project.errors import InvalidInput

Cron = Annotated[
    str | None, typer.Option("--cron", help='When to retrain: "minute hour day month weekday", UTC; "0 3 * * *".')
]
MonitorCron = Annotated[str | None, typer.Option(help='When to monitor the last 24 hours; "15 * * * *" is hourly.')]


def schedule(cron: Cron = None, monitor_cron: MonitorCron = None) -> None:
    """Retrain and monitor by cron, in the foreground, until SIGTERM (exit 0) or Ctrl-C (exit 130).

    What is due is written to FRAUD_SCHEDULE_URL first and then done by a process of its own, one of a kind at a time,
    so that a crash ends neither this nor what waits. Each run is one line: from when to when, its exit code, and when
    the next is due.

    What was missed while nothing ran is done once, if it is at most FRAUD_SCHEDULE_LATE_HOURS late. Told to stop, it
    tells its children, waits FRAUD_SCHEDULE_STOP_SECONDS for them, and begins what was cut short again at the next
    start. With FRAUD_RETRAIN_ON_BREACH=true a breach that monitor finds is followed by `retrain --reason drift`.

    Examples
    --------
    python -m pipelines schedule --cron "0 3 * * 1,4" --monitor-cron "15 * * * *"
    """
    from pipelines.schedule.run import MONITOR, RETRAIN, Scheduler
    from pipelines.settings import PipelineSettings

    crons = {name: line for name, line in ((RETRAIN, cron), (MONITOR, monitor_cron)) if line}
    if not crons:
        raise InvalidInput("Nothing is to be done.", 'Give --cron "0 3 * * *", --monitor-cron "15 * * * *", or both.')
    Scheduler(PipelineSettings.model_validate({}), crons).run()
