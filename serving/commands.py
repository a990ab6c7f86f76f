"""What operators do beside serving: keys, explaining a decision again, and retention.

They work on the decision database itself, while gateways run or not.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from ml_project.errors import FraudError
from serving.settings import GatewaySettings
from stores.objects import is_s3

if TYPE_CHECKING:
    from stores.decisions import DecisionStore, Keys

DONE, DIFFERENT, UNUSABLE = 0, 1, 2

_SCOPES: Final = ("predict", "feedback", "read")
_DAYS: Final = re.compile(r"([1-9]\d{0,4})d")

Command = Callable[[argparse.Namespace, GatewaySettings], int]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands; each sets ``command`` to what runs it."""
    commands = parser.add_subparsers(title="commands", description="Without one, the gateway is served.")
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    create = keys.add_parser("create", help="make a key and show it, for the only time")
    create.add_argument("--name", required=True, help="whom it is for; labels will bear it")
    create.add_argument("--scope", required=True, action="append", choices=_SCOPES, help="may be given several times")
    create.set_defaults(command=_create_key)
    keys.add_parser("list", help="show all keys but their secrets").set_defaults(command=_list_keys)
    revoke = keys.add_parser("revoke", help="end a key, in all gateways within seconds")
    revoke.add_argument("--name", required=True)
    revoke.set_defaults(command=_revoke_key)
    replay = commands.add_parser("replay", help="score a kept prediction again by the version that gave it")
    replay.add_argument("prediction_id")
    replay.set_defaults(command=_replay)
    purge = commands.add_parser("purge", help="export old predictions to Parquet, then delete them")
    purge.add_argument("--older-than", required=True, type=_days, metavar="DAYS", help="such as 400d")
    purge.add_argument("--to", required=True, metavar="FOLDER", help="where the Parquet files go; also s3://bucket/x")
    purge.set_defaults(command=_purge)


def run(command: Command, arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    """Run a command; expected errors are one line on standard error."""
    try:
        return command(arguments, settings)
    except FraudError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _create_key(arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    with _opened(settings) as (_store, keys):
        sys.stdout.write(f"{keys.create(arguments.name, arguments.scope)}\n")
    sys.stderr.write("Keep it safe: only its hash is stored.\n")
    return DONE


def _list_keys(_arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    with _opened(settings) as (_store, keys):
        for key in keys.list():
            state = "in force" if key.revoked_at is None else f"revoked {key.revoked_at:%Y-%m-%dT%H:%M:%SZ}"
            scopes = ",".join(sorted(key.scopes))
            sys.stdout.write(f"{key.name}\t{scopes}\tmade {key.created_at:%Y-%m-%dT%H:%M:%SZ}\t{state}\n")
    return DONE


def _revoke_key(arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    with _opened(settings) as (_store, keys):
        keys.revoke(arguments.name)
    return DONE


def _replay(arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    from serving.replay import replay

    with _opened(settings) as (store, _keys):
        found = store.find(arguments.prediction_id)
    if found is None:
        sys.stderr.write(f"No prediction {arguments.prediction_id} is kept.\n")
        return UNUSABLE
    outcome = replay(found.record, settings)
    for line in outcome.lines():
        sys.stdout.write(f"{line}\n")
    return DONE if outcome.equal else DIFFERENT


def _purge(arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    older_than = datetime.now(UTC) - arguments.older_than
    with _opened(settings) as (store, _keys), _export_folder(arguments.to, settings) as (folder, keep):
        exported = store.purge(older_than, folder, keep)
    where = f", kept in {arguments.to.rstrip('/')}/{exported.decisions.name}" if exported.decisions else ""
    sys.stdout.write(f"{exported.rows} predictions deleted{where}\n")
    return DONE


@contextmanager
def _export_folder(to: str, settings: GatewaySettings) -> Iterator[tuple[Path, Callable[[Path], object] | None]]:
    """Where to write an export's files, and what brings them to S3 where that is wanted."""
    if not is_s3(to):
        yield Path(to), None
        return
    from stores.s3 import S3Objects  # imports boto3: 0.3 s

    objects = S3Objects(to, settings.s3_endpoint_url, setting="--to")
    # not /tmp: an export can be large, and the state folder is where a gateway may write
    with TemporaryDirectory(dir=settings.state_dir, prefix="export-") as scratch:
        yield Path(scratch), lambda path: objects.upload(path, path.name)


@contextmanager
def _opened(settings: GatewaySettings) -> "Iterator[tuple[DecisionStore, Keys]]":
    from stores.decisions import DecisionStore, Keys, open_engine
    from stores.decisions import database as migrate

    engine = open_engine(settings.decisions_url)
    try:
        migrate(engine)
        yield DecisionStore(engine), Keys(engine)
    finally:
        engine.dispose()


def _days(text: str) -> timedelta:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days such as 400d")
    return timedelta(days=int(found[1]))
