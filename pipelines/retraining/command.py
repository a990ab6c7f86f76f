"""The command ``retrain``."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from ml_project.errors import Refused
from pipelines.commands.options import Data, Timeout, Trials, settings_with

Reason = Annotated[Literal["schedule", "drift", "manual"], typer.Option(help="Why, for the run and the history.")]


def retrain(reason: Reason = "manual", data: Data = None, trials: Trials = None, timeout: Timeout = None) -> None:
    """Train again on base data (--data) and the gateway's labelled decisions; promote the result if it is not worse.

    Learns from decisions (FRAUD_DATABASE_URL) on transactions older than FRAUD_LABEL_DELAY_DAYS: with the newest label
    of each, as legitimate where nobody gave one, weighted by what the random review of approvals found. Tuning starts
    from the champion's settings. Then as `main`: validate, train, threshold, gate.
    What the gate refuses becomes Challenger, traffic sees nothing of it.

    Killed, the same command goes on where it stopped (for a day). Two never run at once: the second ends with exit 3;
    a killed one's lease runs out after FRAUD_LEASE_SECONDS. Exit 0: promoted, or nothing better was found. Exit 1:
    validation failed, or the gate found a defect.

    Example: python -m pipelines retrain --reason drift --data s3://bank/transactions.parquet
    """
    from pipelines.progress import console
    from pipelines.retraining.run import retrain as run

    settings = settings_with(data=data, trials=trials, timeout=timeout)
    done = run(settings, reason, datetime.now(UTC))
    console.print(f"run {done.run_id}\n[bold]{done.promotion.sentence}[/bold]")
    if not done.sound:
        raise Refused("The gate found a defect in the candidate.", "See gate.html of the run.")
