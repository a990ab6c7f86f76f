"""The commands about past transactions, which features from history are made of: events rebuild."""

import typer

from pipelines.cli.options import settings_with

events = typer.Typer(
    help="Past transactions of cards, customers or terminals, which features from history are made of.",
    no_args_is_help=True,
)


@events.callback()
def _events() -> None:
    """Keep the group a group: with one command, typer would make it the command itself."""


@events.command()
def rebuild() -> None:
    """Bring past transactions into the decision database: from the ingested data and from kept decisions.

    `promote` does it before a version with features from history goes live. By hand it is for a database that was
    restored from an older backup, or that has lost its history. What is known already counts once, so that it may be
    interrupted and repeated, while gateways answer.
    """
    from pipelines.console import console
    from pipelines.data.ingest import read_meta
    from pipelines.data.past_events import rebuild as bring_in

    settings = settings_with()
    contract = settings.data_contract
    if settings.dataset_path.exists():
        contract = read_meta(settings.dataset_path, contract).resolved(contract)
    console.print(bring_in(settings, contract).sentence)
