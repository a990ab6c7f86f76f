"""``python -m pipelines``: the commands, with exit codes that scripts can rely on."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from pydantic import ValidationError

from ml_project.errors import FraudError
from pipelines.cli import promotion, steps
from pipelines.cli.contract import contract
from pipelines.cli.events import events
from pipelines.cli.operations import monitor, prune, schedule, score
from pipelines.cli.traffic import simulate_traffic
from pipelines.settings import PipelineSettings, join_running_stack
from stores.error_text import masked
from stores.mlflow_client import quiet_mlflow
from stores.settings import secret_names

EXIT_CODES = (
    "Exit codes: 0 done, 1 refused (validation, gate), 2 bad input or usage, 3 lost a race or a lock, "
    "4 breach found, 130 interrupted."
)

INTERRUPTED = 130

app = typer.Typer(
    help=f"Train, compare and promote fraud models. Every option is also a setting, e.g. FRAUD_TRIALS=50. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs flow: in its other mode the lines of a docstring stay, and break again
    pretty_exceptions_enable=False,
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "From data to Production": (
        steps.ingest,
        steps.validate,
        steps.train,
        steps.threshold,
        promotion.promote,
        steps.main,
        steps.retrain,
        steps.up,
    ),
    "Evaluation": (steps.compare, steps.prequential),
    "Daily operation": (score, monitor, schedule, simulate_traffic, prune),
    "Production": (promotion.rollback, promotion.approve, promotion.history, promotion.verify),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(contract, name="contract", rich_help_panel="From data to Production")
app.add_typer(events, name="events", rich_help_panel="Daily operation")
app.add_typer(promotion.policy, name="policy", rich_help_panel="Production")
app.add_typer(promotion.access, name="access", rich_help_panel="Production")
app.add_typer(promotion.webhook, name="webhook", rich_help_panel="Production")


def _exit(message: str, code: int) -> NoReturn:
    from pipelines.console import error_console

    error_console.print(f"[bold red]error:[/bold red] {message}", soft_wrap=True)
    sys.exit(code)


def fault(fault: dict[str, Any]) -> str:
    """What pydantic found of a setting, without the values of secret ones."""
    name = "_".join(str(part) for part in fault["loc"])
    if name not in secret_names(PipelineSettings):
        return f"Setting {name}: {fault['msg']} (got {masked(repr(fault['input']))})."
    if fault["type"] == "too_short":
        return f"Setting {name}: it needs at least {fault['ctx']['min_length']} characters."
    return f"Setting {name}: {fault['msg']}."


def _find_stack(arguments: list[str]) -> None:
    """Let a command work on the stack that runs over its folder, and say so; `up` is what starts one."""
    if not arguments or arguments[0] == steps.up.__name__ or "--help" in arguments:
        return
    if address := join_running_stack():
        from pipelines.console import error_console

        error_console.print(f"[dim]using the running stack, MLflow at {address}[/dim]")


def run() -> NoReturn:
    """Run the command line and turn every expected failure into one message and its exit code."""
    # a scheduler's SIGTERM stops the work as cleanly as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_mlflow(patient=True)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # what its tries come to, MLflow's client says itself
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    _find_stack(sys.argv[1:])
    try:
        code = app(standalone_mode=False)
    except FraudError as error:
        _exit(str(error), error.exit_code)
    except ValidationError as error:
        _exit(fault(dict(error.errors()[0])), 2)
    except typer.TyperException as error:
        _exit(f"{error.format_message().rstrip('.')}. See `python -m pipelines --help`.", error.exit_code)
    # the library turns Ctrl-C into this value, and --help into 0
    if code == INTERRUPTED:
        _exit("interrupted; what was finished is kept, and the next run continues from there", INTERRUPTED)
    sys.exit(code or 0)


if __name__ == "__main__":
    run()
