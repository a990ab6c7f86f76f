"""One serving process, from its settings to its exit code: the only one, or one of several workers."""

import asyncio
import faulthandler
import gc
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from ml_project.errors import FraudError
from serving.app import Wiring, create_app
from serving.http import Connections
from serving.process import DONE, END_SECONDS, FAILED, GRACE_SECONDS, INTERRUPTED
from serving.settings import GatewaySettings
from serving.telemetry.multiprocess import SharedMetrics
from stores.answers import abandon_answers, bound_answers


def serve(
    settings: GatewaySettings,
    listening: Callable[[], socket.socket],
    shared: SharedMetrics | None = None,
    wire: Wiring = lambda look: look,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM (exit code 0) or Ctrl-C (130); 2 and one line when settings cannot be used.

    Parameters
    ----------
    settings : GatewaySettings
    listening : callable
        Gives the listening socket; called when the settings were found good.
    shared : SharedMetrics, optional
        See `create_app`.
    wire : callable, optional
        Connects the webhook to the other workers.
    started : callable, optional
        Called when requests are answered.
    """
    bound_answers(settings.answer_seconds)
    try:
        config = configured(create_app(settings, shared=shared, wire=wire), settings)
        listener = listening()
    except FraudError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        _Server(config, started).run(sockets=[listener])
    except SystemExit as ended:
        # A signal's, see `serving.process`; or uvicorn's, which has logged why it could not start.
        return INTERRUPTED if ended.code == INTERRUPTED else DONE if ended.code == DONE else FAILED
    finally:
        # MLflow's download threads would be waited for
        abandon_answers()
    return DONE


def configured(app: FastAPI, settings: GatewaySettings) -> uvicorn.Config:
    """Uvicorn as it serves the gateway.

    Raises
    ------
    InvalidInput
        When the process may not open enough files.
    """
    return uvicorn.Config(
        app,
        http=Connections(settings).protocol,  # type: ignore[arg-type] # uvicorn calls it, whatever it is
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        # On by default, for whoever connects from this machine: anybody could say that they are somebody else.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


_ALLOCATIONS: Final = 10_000
_SETTLED_SECONDS: Final = 20.0
"""After which all is imported, MLflow's client too. What is there by then stays: to look through it for garbage again
and again took a tenth of the processor from predictions."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = started
        self._heard: set[int] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()
        gc.set_threshold(_ALLOCATIONS)
        asyncio.get_running_loop().call_later(_SETTLED_SECONDS, gc.freeze)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # A thread below Python: it works whatever this process hangs in, and shows on standard error where that is.
            faulthandler.dump_traceback_later(END_SECONDS, exit=True)
        if self.should_exit and sig not in self._heard:
            # A worker hears of Ctrl-C from the terminal and from its parent, in any order: only the same signal twice
            # asks for an end at once.
            self._heard.add(sig)
            return
        self._heard.add(sig)
        super().handle_exit(sig, frame)
