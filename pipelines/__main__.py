"""``python -m pipelines``: the steps from a command line, with exit codes that scripts can rely on."""

import logging
import signal
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from ml_project.errors import FraudError, Refused
from pipelines.monitoring.command import monitor
from pipelines.settings import PipelineSettings
from pipelines.traffic.command import simulate_traffic
from stores.mlflow_environment import quiet_mlflow

EXIT_CODES = (
    "Exit codes: 0 done, 1 refused (validation, gate), 2 bad input or usage, 3 lost a race or a lock, "
    "4 breach found, 130 interrupted."
)

INTERRUPTED = 130

app = typer.Typer(
    help=f"Train, compare and promote fraud models. Every option is also a setting, e.g. FRAUD_TRIALS=50. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[str | None, typer.Option(help="auto, kaggle, simulated, or a CSV or Parquet file or folder.")]
Trials = Annotated[int | None, typer.Option(help="Trials of the whole study, earlier executions included.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds after which no further trial starts.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything drawn at random.")]
Policy = Annotated[str | None, typer.Option(help="Threshold policy: f1, cost, alert_budget or recall_at_fpr.")]
RunId = Annotated[str, typer.Option(help="A run's id, or `latest`.")]


def _settings(**overrides: Any) -> PipelineSettings:
    return PipelineSettings(**{name: value for name, value in overrides.items() if value is not None})


@app.command()
def ingest(data: Data = None, seed: Seed = None) -> None:
    """Read, clean and store the transactions as one Parquet file with a content digest."""
    from pipelines.steps import run_ingest

    run_ingest(_settings(data=data, seed=seed))


@app.command()
def validate() -> None:
    """Check the ingested data against the Great Expectations suite; exit 1 when it fails."""
    from pipelines.steps import run_validate

    run_validate(_settings())


@app.command()
def train(trials: Trials = None, timeout: Timeout = None, seed: Seed = None) -> None:
    """Tune, fit the evaluation twin and the refit, and measure them beside the baselines."""
    from pipelines.progress import console
    from pipelines.steps import run_train

    run = run_train(_settings(trials=trials, timeout=timeout, seed=seed))
    console.print(f"trained in run {run.id}")


@app.command()
def threshold(run_id: RunId = "latest", policy: Policy = None) -> None:
    """Compute every policy's thresholds on validation, finish the bundle and log the model."""
    from pipelines.report import show_figures
    from pipelines.steps import run_threshold

    settings = _settings(policy=policy)
    show_figures(run_threshold(settings, run_id), settings.policy)


@app.command()
def promote(run_id: RunId = "latest") -> None:
    """Pass a finished run's model through the gate and move Production to it; exit 1 when it is refused."""
    from pipelines.progress import console
    from pipelines.promote import Outcome
    from pipelines.steps import run_promote

    promotion = run_promote(_settings(), run_id)
    console.print(promotion.sentence)
    if promotion.outcome is Outcome.REFUSED:
        raise Refused("The gate refused the candidate.")


@app.command()
def main(
    data: Data = None, trials: Trials = None, timeout: Timeout = None, seed: Seed = None, policy: Policy = None
) -> None:
    """All steps: ingest, validate, train, threshold, promote. A candidate that the gate refuses is no failure here."""
    from pipelines.progress import console
    from pipelines.report import show_figures
    from pipelines.steps import run_main

    settings = _settings(data=data, trials=trials, timeout=timeout, seed=seed, policy=policy)
    run, measured, promotion = run_main(settings)
    show_figures(measured, settings.policy)
    console.print(f"run {run.id}\n[bold]{promotion.sentence}[/bold]")


app.command()(monitor)
app.command("simulate-traffic")(simulate_traffic)


@app.command()
def up(
    data: Data = None,
    trials: Trials = None,
    port: Annotated[int, typer.Option(help="Port of the gateway.")] = 8000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    smoke: Annotated[bool, typer.Option("--smoke", help="Stop after one single and one batch prediction.")] = False,
) -> None:
    """Start MLflow and the gateway on this machine, run `main`, show a sample answer, and serve until Ctrl-C."""
    from pipelines.up import up as start

    start(_settings(data=data, trials=trials), port=port, mlflow_port=mlflow_port, smoke=smoke)


def _exit(message: str, code: int) -> NoReturn:
    from pipelines.progress import error_console

    error_console.print(f"[bold red]error:[/bold red] {message}", soft_wrap=True)
    sys.exit(code)


def run() -> NoReturn:
    """Run the command line and turn every expected failure into one message and its exit code."""
    # a scheduler's SIGTERM stops the work as cleanly as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_mlflow()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        code = app(standalone_mode=False)
    except FraudError as error:
        _exit(str(error), error.exit_code)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        _exit(f"Setting {name}: {first['msg']} (got {first['input']!r}).", 2)
    except typer.TyperException as error:
        _exit(f"{error.format_message().rstrip('.')}. See `python -m pipelines --help`.", error.exit_code)
    # the library turns Ctrl-C into this value, and --help into 0
    if code == INTERRUPTED:
        _exit("interrupted; what was finished is kept, and the next run goes on from there", INTERRUPTED)
    sys.exit(code or 0)


if __name__ == "__main__":
    run()
