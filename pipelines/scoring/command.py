"""The command ``score``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ml_project.errors import InvalidInput
from pipelines.commands.options import Engine, settings_with

Data = Annotated[str, typer.Option(help="A Parquet or CSV file, or a folder of them; also s3://.")]
Output = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix that the outcome becomes.")]
Version = Annotated[int | None, typer.Option(help="Model version; Production by default.")]
Replay = Annotated[bool, typer.Option("--replay", help="Score kept decisions again: what would change?")]
Since = Annotated[str | None, typer.Option("--from", help="Of --replay: begin, such as 2026-01-01 (UTC).")]
Until = Annotated[str | None, typer.Option("--to", help="Of --replay: end, itself outside; now by default.")]


def score(
    data: Data = "",
    output: Output = "",
    engine: Engine = "local",
    version: Version = None,
    replay: Replay = False,
    since: Since = None,
    until: Until = None,
) -> None:
    """Score a whole table, of any size, in little memory: Parquet or CSV in, partitioned Parquet out.

    The input needs Time, V1 to V28 and Amount; other columns are carried over. The output has a folder per decision
    (decision=DECLINE/), with scores, version, and each row's file and place in it; what could not be scored lies in
    _quarantine/ with reasons, counts and drift in _job.json and in a run of the experiment fraud-scoring.

    Killed, the same command goes on with the parts that are missing; until the last one is there, there is no output.
    Run again after that, it changes nothing.

    --replay scores the gateway's decisions since --from (or, with --data, the files that `serving purge` exported) by
    --version, and says which decisions would change, with their amounts and the frauds that are known among them.

    Example: python -m pipelines score --data month.parquet --output scored/2026-01

    Example: python -m pipelines score --replay --version 8 --from 2026-01-01 --to 2026-02-01
    """
    if replay:
        _replay(data, output, engine, version, since, until)
        return
    if not data or not output:
        raise InvalidInput("score needs --data and --output.", "Or --replay with --from.")
    if since or until:
        raise InvalidInput("--from and --to belong to --replay.")
    from pipelines.progress import console, step
    from pipelines.scoring.run import score as run

    with step(f"score {data}"):
        scored = run(settings_with(), data, output, engine, version)
    if scored.summary is None:
        console.print(f"{output} is complete already: {scored.job['rows']:,} rows, run {scored.job['run_id']}.")
        return
    console.print(scored.summary.to_table())
    console.print(f"{scored.summary.metrics['rows_per_second']:,.0f} rows/s; run {scored.run_id}")


def _replay(data: str, output: str, engine: str, version: int | None, since: str | None, until: str | None) -> None:
    if output or engine != "local":
        raise InvalidInput("--replay writes a run, no --output, and runs on this machine only.")
    if not since:
        raise InvalidInput("--replay needs --from.", "Write --from 2026-01-01.")
    from pipelines.monitoring.window import window_of
    from pipelines.progress import console
    from pipelines.scoring.replay import run_replay

    window = window_of(None, since, until, datetime.now(UTC))
    found = run_replay(settings_with(), window, data or None, version)
    console.print(found.replayed.to_table())
    console.print(
        f"Under version {found.version}, {found.replayed.changed:,} of {found.replayed.rows:,} decisions would change "
        f"({window.words}); run {found.run_id}"
    )
