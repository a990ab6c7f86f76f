"""The commands from data to a finished model, and how good it is: each step, all at once, retraining, comparisons."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from ml_project.errors import Refused
from pipelines.cli.options import Data, Engine, Policy, RunId, Seed, Timeout, Trials, Workers, settings_with


def ingest(data: Data = None, seed: Seed = None, engine: Engine = "local") -> None:
    """Read, clean and store the transactions as one Parquet file with a content digest.

    With --engine spark as a folder of them, for more rows than fit into memory; the next steps then need it, too.
    """
    from pipelines.training.steps import run_ingest

    run_ingest(settings_with(data=data, seed=seed), engine=engine)


def validate(engine: Engine = "local") -> None:
    """Check the ingested data against the Great Expectations suite; exit 1 when it fails."""
    from pipelines.training.steps import run_validate

    run_validate(settings_with(), engine)


def train(
    trials: Trials = None,
    timeout: Timeout = None,
    seed: Seed = None,
    workers: Workers = None,
    engine: Engine = "local",
) -> None:
    """Tune, fit the evaluation twin and the refit, and measure them against the baselines.

    With --workers several processes try points of the same study; so do other machines that have the same data and the
    same FRAUD_STUDY_URL (PostgreSQL). A worker that dies is replaced and its point tried again.

    With --engine spark the boosted trees grow on all rows by Spark's executors (docs/scale.md).
    """
    from pipelines.console import console
    from pipelines.tracking import run_address
    from pipelines.training.steps import run_train

    settings = settings_with(trials=trials, timeout=timeout, seed=seed, tuning_workers=workers)
    console.print(f"trained: {run_address(settings, run_train(settings, engine))}")


def threshold(run_id: RunId = "latest", policy: Policy = None) -> None:
    """Compute every policy's thresholds on validation, finish the bundle and log the model."""
    from pipelines.console import show_figures
    from pipelines.training.steps import run_threshold

    settings = settings_with(policy=policy)
    show_figures(run_threshold(settings, run_id), settings)


def main(
    data: Data = None,
    trials: Trials = None,
    timeout: Timeout = None,
    seed: Seed = None,
    policy: Policy = None,
    engine: Engine = "local",
) -> None:
    """All steps: ingest, validate, train, threshold, promote. A refused candidate does not fail the command."""
    from pipelines.console import console, show_figures
    from pipelines.tracking import run_address
    from pipelines.training.steps import run_main

    settings = settings_with(data=data, trials=trials, timeout=timeout, seed=seed, policy=policy)
    run, measured, promotion = run_main(settings, engine)
    show_figures(measured, settings)
    console.print(f"[bold]{promotion.sentence}[/bold]\n{run_address(settings, run)}")


def up(
    data: Data = None,
    trials: Trials = None,
    port: Annotated[int, typer.Option(help="Port of the gateway.")] = 8000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    smoke: Annotated[bool, typer.Option("--smoke", help="Stop after one single and one batch prediction.")] = False,
    backend: Annotated[
        Literal["embedded", "servers"], typer.Option(help="SQLite and folders, or PostgreSQL and S3 started here.")
    ] = "embedded",
) -> None:
    """Start MLflow and the gateway on this machine, run `main`, show a sample answer, and serve until Ctrl-C."""
    from pipelines.up import BackendName
    from pipelines.up import up as start

    settings = settings_with(data=data, trials=trials)
    start(settings, port=port, mlflow_port=mlflow_port, smoke=smoke, backend=BackendName(backend))


Reason = Annotated[Literal["schedule", "drift", "manual"], typer.Option(help="Why, for the run and the history.")]


def retrain(reason: Reason = "manual", data: Data = None, trials: Trials = None, timeout: Timeout = None) -> None:
    """Train again on base data (--data) and the gateway's labelled decisions; promote the result if it is not worse.

    Learns from decisions (FRAUD_DATABASE_URL) on transactions older than FRAUD_LABEL_DELAY_DAYS: with the newest label
    of each, as legitimate where there is none, weighted by what the random review of approvals found. Tuning starts
    from the champion's settings. Then as `main`: validate, train, threshold, gate.
    A refused model becomes Challenger and does not affect traffic.

    If it is killed, the same command resumes where it stopped (for a day). Two never run at once: the second ends with
    exit 3; the lease of a killed one expires after FRAUD_LEASE_SECONDS. Exit 0: promoted, or nothing better was found.
    Exit 1: validation failed, or the gate found a defect.

    Example: python -m pipelines retrain --reason drift --data s3://bank/transactions.parquet
    """
    from pipelines.console import console
    from pipelines.retraining.run import retrain as run

    settings = settings_with(data=data, trials=trials, timeout=timeout)
    done = run(settings, reason, datetime.now(UTC))
    console.print(f"[bold]{done.promotion.sentence}[/bold]\n{done.address}")
    if not done.sound:
        raise Refused("The gate found a defect in the candidate.", "See gate.html of the run.")


Number = Annotated[int, typer.Argument(min=1, help="A registered version.")]


def compare(first: Number, second: Number) -> None:
    """Two versions side by side: figures, paired differences, curves, thresholds, parameters; a page in a run."""
    from pipelines.evaluation.compare import run_compare
    from pipelines.settings import PipelineSettings

    run_compare(PipelineSettings.model_validate({}), first, second)


Blocks = Annotated[int, typer.Option(min=2, help="Blocks after the start, of equal numbers of transactions.")]
FirstShare = Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the history that is only learnt from.")]
Delay = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Days until a label is known, often 7 to 30; the public set spans 2 in all. By default 0.1, with "
        "--retraining FRAUD_LABEL_DELAY_DAYS.",
    ),
]
SettingsOf = Annotated[
    str, typer.Option(help="Freeze the settings of this run (an id, or `latest`); empty: the project's defaults.")
]
Retraining = Annotated[
    bool, typer.Option("--retraining", help="Week by week instead, under rules that say when a model is retrained.")
]
FirstDays = Annotated[
    float, typer.Option(min=1, help="Of --retraining: days that the first model, and a sliding window, learns from.")
]


def prequential(
    blocks: Blocks = 6,
    label_delay: Delay = None,
    start: FirstShare = 0.4,
    run_id: SettingsOf = "",
    retraining: Retraining = False,
    first_days: FirstDays = 30.0,
) -> None:
    """Replay the ingested history: learn from what was known, score the next block, move on.

    Average precision, precision at the alert budget and cost of every block go into a run, with a page.

    With --retraining the history is replayed week by week: never retrained, every week, every four weeks, and when
    a week drifted, on the latest days and on all of them. The page, retraining.html, says how much money each would
    have saved, at which average precision, and what its trainings took.

    If it is interrupted, the same command resumes at the first missing block or week.
    """
    from pipelines.evaluation.prequential import BlockSettings, RulesSettings, run_prequential, run_retraining_rules
    from pipelines.settings import PipelineSettings

    settings = PipelineSettings.model_validate({})
    if retraining:
        delay = settings.label_delay_days if label_delay is None else label_delay
        run_retraining_rules(settings, RulesSettings(first_days, delay), run_id)
    else:
        run_prequential(settings, BlockSettings(blocks, 0.1 if label_delay is None else label_delay, start), run_id)
