"""``python -m serving``: the gateway as a process, and the commands beside it."""

import argparse
import logging
import signal
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError

from serving.app import create_app
from serving.commands import add_commands, run
from serving.listener import listen
from serving.logs import configure_logging
from serving.settings import GatewaySettings

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

_GRACE_SECONDS = 20
"""Requests in progress get this long after SIGTERM."""

_log = logging.getLogger("serving")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM (exit code 0) or Ctrl-C (130); 2 when settings or address cannot be used."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        given = {"host": arguments.host, "port": arguments.port}
        settings = GatewaySettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = "".join(f"\n  {''.join(map(str, fault['loc'][:1]))}: {fault['msg']}" for fault in error.errors())
        parser.exit(BAD_INPUT, f"Settings that cannot be used:{faults}\nSee python -m serving --help.\n")
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(BAD_INPUT, f"Cannot write to {settings.state_dir}: {error.strerror}. Set FRAUD_STATE_DIR.\n")
    if arguments.command is not None:
        return run(arguments.command, arguments, settings)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        parser.exit(BAD_INPUT, f"Cannot listen on {where}: {error.strerror}. Choose another --host or --port.\n")
    # uvicorn finishes its requests and then raises the signal again, for whoever stood here before it.
    signal.signal(signal.SIGTERM, _exit_cleanly)
    configure_logging(settings.log_level)
    _log.info("gateway listens on http://%s:%d", settings.host, settings.port)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE if server.started else BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="The gateway: answers with the model version that the registry names Production.",
        epilog=f"Settings, from the environment:\n{_settings_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (FRAUD_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (FRAUD_PORT)")
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


def _exit_cleanly(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(DONE)


if __name__ == "__main__":
    sys.exit(main())
