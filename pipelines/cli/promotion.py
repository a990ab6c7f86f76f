"""What is Production, who may say so, and how MLflow tells gateways of it."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ml_project.errors import InvalidInput, Refused
from pipelines.cli.options import Json, Reason, RunId, settings_with

if TYPE_CHECKING:
    from pipelines.promotion.promote import Promotion
    from stores.webhooks import Webhooks


policy = typer.Typer(help="Threshold policies of the model that is Production.", no_args_is_help=True)


def promote(
    run_id: RunId = "latest",
    version: Annotated[int | None, typer.Option(help="A registered version, instead of a run.")] = None,
    expect_current: Annotated[
        int | None, typer.Option(help="Exit 3 unless this version is Production; 0: unless none is.")
    ] = None,
    reason: Reason = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote although the gate refuses; needs a reason, is recorded permanently."),
    ] = False,
) -> None:
    """Pass a model through the gate and move Production to it; exit 1 when it is refused or waits for approval."""
    if version is not None and run_id != "latest":
        raise InvalidInput("--version and --run-id name two candidates.", "Give one of them.")
    from pipelines.promotion.promote import Order
    from pipelines.training.steps import run_promote

    order = Order(reason, force, expect_current)
    _tell(run_promote(settings_with(), run_id, version, order))


def rollback(
    reason: Reason,
    to: Annotated[int | None, typer.Option(help="A version that was Production before; by default Previous.")] = None,
) -> None:
    """Put the Previous version back. Run again, it goes one version further back; with --to it changes nothing more."""
    from pipelines.console import console
    from pipelines.promotion.mover import open_mover
    from pipelines.promotion.rollback import rollback as roll_back

    console.print(roll_back(open_mover(settings_with()), reason, to))


def approve(version: Annotated[int, typer.Argument(help="The version that waits.")], reason: Reason) -> None:
    """Approve a promotion that another person asked for (FRAUD_REQUIRE_APPROVAL)."""
    from pipelines.console import console
    from pipelines.promotion.mover import open_mover
    from pipelines.promotion.rollback import approve as grant

    console.print(grant(open_mover(settings_with()), version, reason))


@policy.command(name="set")
def set_policy(
    name: Annotated[str, typer.Argument(help="f1, cost, alert_budget or recall_at_fpr.")], reason: Reason = ""
) -> None:
    """Make a version of Production's model under another threshold policy, and promote it through the gate."""
    from pipelines.promotion.policy import set_policy as change

    _tell(change(settings_with(), name, reason))


def history(as_json: Json = False) -> None:
    """Show every move of an alias: who, when, why, from, to and with which gate result."""
    from pipelines.console import console
    from pipelines.promotion.mover import open_stores
    from pipelines.promotion.verify import history_dict, history_table

    settings = settings_with()
    stores = open_stores(settings)
    record, aliases = stores.history.read(), stores.registry.aliases()
    if as_json:
        console.print_json(data=history_dict(record, aliases, settings.mlflow_uri))
    else:
        console.print(history_table(record, aliases, settings.mlflow_uri))


def verify(as_json: Json = False) -> None:
    """Check files against digests, aliases against history, release pointer against alias; exit 1 if anything fails.

    With features from history, also what gateways look up of a sample of keys against base data and decisions.
    """
    from pipelines.console import console
    from pipelines.monitoring.known_past import differing_pasts
    from pipelines.promotion.mover import open_stores
    from pipelines.promotion.verify import verify as check

    settings = settings_with()
    stores = open_stores(settings)
    past = partial(differing_pasts, settings)
    verification = check(stores.registry, stores.history, stores.releases, past, settings.trust)
    if as_json:
        console.print_json(data=verification.to_dict())
    else:
        console.print(verification.to_table())
    if not verification.ok:
        failed = sum(not finding.ok for finding in verification.findings)
        raise Refused(f"{failed} of {len(verification.findings)} checks failed.", "See docs/operations.md.")


access = typer.Typer(
    help="Who may promote, who may register versions and who reads, on an MLflow server with users.",
    no_args_is_help=True,
)

Users = Annotated[list[str], typer.Argument(help="MLflow users.")]
RoleName = Annotated[
    Literal["promoter", "data-scientist", "reader"],
    typer.Argument(
        help="promoter: moves Production and deletes versions; data-scientist: trains and registers; reader: reads, as "
        "gateways do.",
    ),
]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File with the password for users that have to be created; - for standard input.")
]


@access.command(name="grant")
def grant_role(role: RoleName, users: Users, password_file: PasswordFile = None) -> None:
    """Give users a role, in place of the one they have; an administrator's command, safe to run again.

    Makes the registered model, its history and the experiments first: their maker would own them.

    Example: python -m pipelines access grant data-scientist anna bob
    """
    from pipelines.console import console
    from pipelines.promotion.access import Access, AccessRole

    Access(settings_with()).grant(AccessRole(role), users, _password_in(password_file))
    console.print(f"{', '.join(users)}: {role}")


@access.command(name="show")
def show_access(as_json: Json = False) -> None:
    """Show what MLflow lets each user do, and whether Production is locked; exit 1 when it is not."""
    from pipelines.console import console
    from pipelines.promotion.access import Access

    report = Access(settings_with()).report()
    if as_json:
        console.print_json(data=report.to_dict())
    else:
        console.print(report.to_table())
    if not report.locked:
        raise Refused("Production is not locked.", "See docs/operations.md.")


@access.command(name="key")
def show_key(
    output: Annotated[Path | None, typer.Option(help="File to write it to, instead of the screen.")] = None,
) -> None:
    """Print the public key of FRAUD_SIGNING_KEY, for FRAUD_TRUSTED_KEYS of gateways and pipelines."""
    from stores.attestation import SigningKey
    from stores.files import write_atomically

    secret = settings_with().signing_key
    if secret is None:
        raise InvalidInput("There is no FRAUD_SIGNING_KEY.", "Set it, such as to what `openssl rand -hex 32` gives.")
    public = SigningKey(secret.get_secret_value()).public
    if output is None:
        typer.echo(public)
    else:
        write_atomically(output, f"{public}\n".encode())


def _password_in(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The password file {file} cannot be read.", "Name a text file, or -.") from error


def _tell(promotion: "Promotion") -> None:
    from pipelines.console import console
    from pipelines.promotion.promote import Outcome

    console.print(promotion.sentence)
    if promotion.outcome is Outcome.REFUSED:
        raise Refused("The gate refused the candidate.")
    if promotion.outcome is Outcome.WAITING:
        raise Refused("The promotion waits for approval.")
    if promotion.outcome is Outcome.REGISTERED:
        raise Refused("This user may register, not promote.", "See `python -m pipelines access show`.")


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
    table = Table(("name", "status", "address"), empty="No webhooks. See `python -m pipelines webhook add --help`.")
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
