"""``python -m serving``: the gateway as one process or as several, and the operators' commands.

The commands (keys, replay, purge) work on the decision database itself, while gateways run or not. What serves, and
what a command needs, is imported only by the process that needs it: the parent of several workers stays small.
"""

from serving.process import BAD_INPUT, DONE, listen, stop_on_signals

if __name__ == "__main__":
    stop_on_signals(importing=True)  # before the other imports, which take a second

import argparse
import logging
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from ml_project.errors import FraudError, InvalidInput
from serving.settings import GatewaySettings, faults, settings_help
from serving.telemetry.request import configure_logging
from serving.worker_pool import Workers
from stores.objects import is_s3

if TYPE_CHECKING:
    from stores.decisions import DecisionRecord, DecisionStore, Keys


DIFFERENT: Final = 1
"""Exit code of a replay that gives other figures."""

_SCOPES: Final = ("predict", "feedback", "read")
_DAYS: Final = re.compile(r"([1-9]\d{0,4})d")

Command = Callable[[argparse.Namespace, GatewaySettings], int]

_log = logging.getLogger("serving")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM (exit code 0) or Ctrl-C (130); 2 when settings or address cannot be used."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        given = {name: getattr(arguments, name) for name in ("host", "port", "workers")}
        settings = GatewaySettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        parser.exit(BAD_INPUT, faults(error))
    try:
        settings.gateway_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(BAD_INPUT, f"Cannot write to {settings.gateway_dir}: {error.strerror}. Set FRAUD_STATE_DIR.\n")
    if arguments.command is not None:
        return run(arguments.command, arguments, settings)
    try:
        return _serve(settings)
    except FraudError as error:
        parser.exit(error.exit_code, f"{error}\n")


def _serve(settings: GatewaySettings) -> int:
    configure_logging(settings.log_level)
    if settings.workers == 1:
        stop_on_signals(importing=True)
        from serving.server import serve

        stop_on_signals()
        return serve(settings, lambda: _listen(settings))
    if settings.rate_limit and not settings.rate_limit_url:
        _log.warning("each worker counts rate limits for itself: set FRAUD_RATE_LIMIT_STORE to share the counts")
    return Workers(settings, _listen(settings)).run()


def _listen(settings: GatewaySettings) -> socket.socket:
    where = f"{settings.host}:{settings.port}"
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        raise InvalidInput(
            f"Cannot listen on {where}: {error.strerror}.", "Choose another --host or --port."
        ) from error
    _log.info("gateway listens on http://%s", where)
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="The gateway: answers with the model version that the registry names Production.",
        epilog=f"Settings, from the environment:\n{settings_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (FRAUD_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (FRAUD_PORT)")
    parser.add_argument("--workers", type=int, help="processes that answer (FRAUD_WORKERS)")
    parser.set_defaults(command=None)
    add_commands(parser)
    return parser


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands; each sets ``command`` to what runs it."""
    commands = parser.add_subparsers(title="commands", description="Without one, the gateway serves.")
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    create = keys.add_parser("create", help="make a key and show it once")
    create.add_argument("--name", required=True, help="who uses it; labels carry this name")
    create.add_argument("--scope", required=True, action="append", choices=_SCOPES, help="may be given several times")
    create.set_defaults(command=_create_key)
    keys.add_parser("list", help="show all keys, without their secrets").set_defaults(command=_list_keys)
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
    with _opened(settings) as (store, _keys):
        found = store.find(arguments.prediction_id)
    if found is None:
        sys.stderr.write(f"No prediction {arguments.prediction_id} is kept.\n")
        return BAD_INPUT
    outcome = replay(found.record, settings)
    for line in outcome.lines():
        sys.stdout.write(f"{line}\n")
    return DONE if outcome.equal else DIFFERENT


def _purge(arguments: argparse.Namespace, settings: GatewaySettings) -> int:
    older_than = datetime.now(UTC) - arguments.older_than
    with _opened(settings) as (store, _keys), _export_folder(arguments.to, settings) as (folder, keep):
        exported = store.purge(settings.data_contract, older_than, folder, keep)
    where = f", kept in {arguments.to.rstrip('/')}/{exported.decisions.name}" if exported.decisions else ""
    sys.stdout.write(f"{exported.rows} predictions deleted{where}\n")
    if exported.past:
        sys.stdout.write(f"{exported.past} past transactions deleted, out of reach of every feature from history\n")
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
    with TemporaryDirectory(dir=settings.gateway_dir, prefix="export-") as scratch:
        yield Path(scratch), lambda path: objects.upload(path, path.name)


@contextmanager
def _opened(settings: GatewaySettings) -> "Iterator[tuple[DecisionStore, Keys]]":
    from stores.decisions import Keys, open_store

    with open_store(settings.decisions_url) as store:
        yield store, Keys(store.engine)


def _days(text: str) -> timedelta:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days such as 400d")
    return timedelta(days=int(found[1]))


@dataclass(frozen=True, slots=True)
class Replay:
    """Then and now, by name: the two scores as numbers, the decision as text."""

    prediction_id: str
    model_version: str
    then: dict[str, float | str]
    now: dict[str, float | str]

    @property
    def equal(self) -> bool:
        """Nothing differs, down to the last bit."""
        return self.then == self.now

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"prediction {self.prediction_id} by version {self.model_version}"
        for name, then in self.then.items():
            yield f"{name}: stored {then}, replayed {self.now[name]}"
        yield "equal" if self.equal else "DIFFERENT"


def replay(record: "DecisionRecord", settings: GatewaySettings) -> Replay:
    """Load the bundle with the stored digest, from the cache, the release or the registry, and score.

    Raises
    ------
    InvalidBundle
        When the files found are not those of the digest.
    Unavailable
        When they cannot be fetched.
    """
    import numpy as np

    from ml_project.policies import decide
    from stores.mlflow_client import quiet_mlflow

    quiet_mlflow()  # before what imports MLflow
    from stores.history import History
    from stores.production import LiveVersion, Production
    from stores.registry import Registry
    from stores.releases import open_releases

    releases = open_releases(settings.releases, settings.s3_endpoint_url)
    release = releases.current()
    if release is not None and release.digest != record.bundle_digest:
        release = None
    version = LiveVersion(
        int(record.model_version), record.bundle_digest, "release pointer" if release else "registry", release
    )
    registry = Registry(settings.mlflow_uri, settings.model_name)
    history = History(settings.mlflow_uri, settings.model_name)
    try:
        scorer = Production(registry, releases, settings.bundle_cache, history).load(version, threads=1)
    except FraudError as error:
        decided_under = record.contract.name
        if decided_under == settings.data_contract.contract:
            raise
        cause = f"The bundle of prediction {record.prediction_id}, decided under {decided_under}, was not found"
        raise InvalidInput(f"{cause}: {error.cause}", "Set FRAUD_MODEL_NAME to that contract's model.") from error
    scores = scorer.score(np.array([record.scored]))
    hybrid = float(scores.hybrid[0])
    return Replay(
        record.prediction_id,
        record.model_version,
        {
            "hybrid_score": record.hybrid_score,
            "fraud_probability": record.fraud_probability,
            "decision": record.decision,
        },
        {
            "hybrid_score": hybrid,
            "fraud_probability": float(scores.probability[0]),
            "decision": str(decide(hybrid, scorer.thresholds)),
        },
    )


if __name__ == "__main__":
    stop_on_signals()
    sys.exit(main())
