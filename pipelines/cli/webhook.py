"""The commands by which MLflow tells gateways of a promotion at once: webhook add, list, test, remove."""

from typing import TYPE_CHECKING, Annotated

import typer

from ml_project.errors import InvalidInput, Refused
from pipelines.cli.options import Json, settings_with

if TYPE_CHECKING:
    from stores.webhooks import Webhooks

webhook = typer.Typer(
    help="Let MLflow notify gateways of a promotion at once; without a webhook they poll every FRAUD_POLL_SECONDS.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The webhook's name, such as 'gateway'.")]


@webhook.command(name="add")
def add(name: Name, gateway: Annotated[str, typer.Argument(help="Its address: https://gateway.bank.example")]) -> None:
    """Add a webhook that is signed with FRAUD_WEBHOOK_SECRET, which must be the gateway's too.

    MLflow's server calls public https addresses only, unless it was started with MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true
    (and MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https). It works after a minute (MLFLOW_WEBHOOK_CACHE_TTL).

    Example: FRAUD_WEBHOOK_SECRET=... python -m pipelines webhook add gateway https://gateway.bank.example
    """
    from pipelines.console import console

    secret = settings_with().webhook_secret
    added = _webhooks().add(name, gateway, secret.get_secret_value() if secret else "")
    console.print(f"MLflow notifies {added.url} of every promotion. Try it: python -m pipelines webhook test {name}")


@webhook.command(name="list")
def list_webhooks(as_json: Json = False) -> None:
    """List the webhooks that announce promotions."""
    from dataclasses import asdict

    from pipelines.console import Table, console

    found = _webhooks().list()
    if as_json:
        console.print_json(data=[asdict(each) for each in found])
        return
    if not found:
        console.print("No webhooks. See `python -m pipelines webhook add --help`.")
        return
    table = Table(("name", "status", "address"))
    for each in found:
        table.add_row(each.name, "active" if each.active else "disabled", each.url)
    console.print(table)


@webhook.command(name="test")
def test(name: Name) -> None:
    """Let MLflow send a signed test event; exit 1 when the gateway does not accept it."""
    from pipelines.console import console

    delivery = _webhooks().test(name)
    if not delivery.delivered:
        status = f"the gateway answered {delivery.status}" if delivery.status else "nothing answered"
        raise Refused(
            f"The test event was not accepted: {status}: {delivery.problem[:300]}",
            "Compare FRAUD_WEBHOOK_SECRET here and at the gateway, and see `webhook add --help`.",
        )
    console.print(f"The gateway accepted the test event ({delivery.status}).")


@webhook.command(name="remove")
def remove(name: Name) -> None:
    """Remove a webhook; gateways keep polling."""
    from pipelines.console import console

    _webhooks().remove(name)
    console.print(f"Removed {name}.")


def _webhooks() -> "Webhooks":
    from stores.webhooks import Webhooks

    settings = settings_with()
    if not settings.mlflow_server:
        raise InvalidInput("Webhooks need an MLflow server.", "Set FRAUD_TRACKING_URI to its address.")
    return Webhooks(settings.mlflow_uri)
