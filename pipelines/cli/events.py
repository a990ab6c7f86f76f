"""The commands about past transactions, which features from history are made of, and whose they are."""

from typing import Annotated

import typer

from ml_project.errors import InvalidInput
from pipelines.cli.options import DryRun, Yes, confirm, settings_with

events = typer.Typer(
    help="Past transactions of cards, customers or terminals, from which history features are computed.",
    no_args_is_help=True,
)


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


Keys = Annotated[list[str], typer.Option("--key", help="What to erase, such as customer=C1; repeatable.")]
Exports = Annotated[
    list[str] | None,
    typer.Option(help="Folder or s3://bucket/prefix that `serving purge` exported to; may be given several times."),
]
Compact = Annotated[
    bool,
    typer.Option(
        "--compact",
        help="SQLite: rewrite the database file, so that its free space no longer holds the key; predictions are "
        "spooled meanwhile.",
    ),
]


@events.command()
def forget(
    key: Keys, exports: Exports = None, compact: Compact = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Erase a card, customer or terminal: from history, kept decisions, the spool, and the exports that are named.

    Its own history goes. Its transactions stay in the histories of others, whose counts remain right, and its decisions
    stay as they were made, with nothing in the place of the key. Repeated transaction ids are still recognised.

    If it is killed, the same command goes on where it was. Backups, the bank's own table and what was ingested or
    trained from it are not touched. FRAUD_CONTRACT names the contract; with FRAUD_KEY_SECRET the key is hashed here,
    too.

    Example: python -m pipelines events forget --key customer=C1 --exports s3://bucket/exports
    """
    from pipelines.console import console
    from pipelines.data.forget import Forgetter, personal_key

    settings = settings_with()
    wanted = {given: personal_key(given, settings.data_contract, settings.key_hash) for given in dict.fromkeys(key)}
    with Forgetter(settings, exports or []) as forgetter:
        found = {given: forgetter.look(each) for given, each in wanted.items()}
        for given, where in found.items():
            console.print(f"{given}: {where.sentence}", markup=False)
        if not exports:
            console.print("Exports of `serving purge` are not searched; name them with --exports.", markup=False)
        here = [given for given, where in found.items() if where.anything]
        if here and not dry_run:
            confirm(yes, "Erase this for good?")
            done = forgetter.erase([wanted[given] for given in here], compacted=compact)
            for given, erased in zip(here, done, strict=True):
                console.print(f"{given}: erased {erased.sentence}", markup=False)
    missing = [given for given in found if given not in here]
    if missing:
        raise InvalidInput(
            f"Nothing is kept of {', '.join(missing)}.",
            "Check the key, FRAUD_CONTRACT and FRAUD_KEY_SECRET; a key that was erased before is not found either.",
        )
