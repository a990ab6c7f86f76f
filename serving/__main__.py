"""``python -m serving``: the gateway as a process or as several, and the commands beside it.

What serves is imported only by the process that does: the parent of several workers stays small.
"""

import argparse
import logging
import socket
import sys

from pydantic import ValidationError

from ml_project.errors import FraudError, InvalidInput
from serving.commands import add_commands, run
from serving.exits import BAD_INPUT, stop_on_signals
from serving.listener import listen
from serving.logs import configure_logging
from serving.preflight import faults
from serving.settings import GatewaySettings
from serving.workers import Workers

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
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(BAD_INPUT, f"Cannot write to {settings.state_dir}: {error.strerror}. Set FRAUD_STATE_DIR.\n")
    if arguments.command is not None:
        return run(arguments.command, arguments, settings)
    try:
        return _serve(settings)
    except FraudError as error:
        parser.exit(error.exit_code, f"{error}\n")


def _serve(settings: GatewaySettings) -> int:
    configure_logging(settings.log_level)
    stop_on_signals()
    if settings.workers == 1:
        from serving.process import serve

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
        epilog=f"Settings, from the environment:\n{_settings_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (FRAUD_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (FRAUD_PORT)")
    parser.add_argument("--workers", type=int, help="processes that answer (FRAUD_WORKERS)")
    parser.set_defaults(command=None)
    add_commands(parser)
    return parser


def _settings_help() -> str:
    lines = []
    for name, field in GatewaySettings.model_fields.items():
        alias = field.validation_alias
        names = " or ".join(map(str, alias.choices)) if alias else f"FRAUD_{name.upper()}"  # type: ignore[union-attr]
        default = "" if field.default in ((), None, "") else f" [{field.default}]"
        lines.append(f"  {names}{default}\n      {field.description}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
