"""Options that several commands share, and how they become settings."""

from typing import Annotated, Any, Literal

import typer

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
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def settings_with(**overrides: Any) -> PipelineSettings:
    """Settings from the environment; options that were given win."""
    return PipelineSettings(**{name: value for name, value in overrides.items() if value is not None})
