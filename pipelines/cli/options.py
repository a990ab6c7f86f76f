"""Options that several commands share, and how they become settings."""

import sys
from typing import Annotated, Any, Literal

import typer

from ml_project.errors import InvalidInput, Refused
from pipelines.settings import PipelineSettings

Data = Annotated[
    str | None, typer.Option(help="auto, kaggle, simulated, or a CSV or Parquet file or folder, also s3://.")
]
Trials = Annotated[int | None, typer.Option(help="Trials of the whole study, earlier executions included.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds after which no further trial starts.")]
Workers = Annotated[int | None, typer.Option(help="Processes that tune, on one study.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything drawn at random.")]
Engine = Annotated[Literal["local", "spark"], typer.Option(help="This machine's cores, or FRAUD_SPARK_MASTER.")]
Policy = Annotated[str | None, typer.Option(help="Threshold policy: f1, cost, alert_budget or recall_at_fpr.")]
RunId = Annotated[str, typer.Option(help="A run's id, or `latest`.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def settings_with(**overrides: Any) -> PipelineSettings:
    """Settings from the environment; options that were given win."""
    return PipelineSettings(**{name: value for name, value in overrides.items() if value is not None})


def confirm(yes: bool, question: str) -> None:
    """Ask before something is gone for good, unless ``--yes`` has answered.

    Raises
    ------
    Refused
        When the answer is no.
    InvalidInput
        When nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput("Nothing was erased: confirmation is needed.", "Add --yes, or --dry-run to look only.")
    if not typer.confirm(question):
        raise Refused("Nothing was erased.")
