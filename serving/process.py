"""One serving process, from its settings to its exit code: the only one, or one of several workers."""

import faulthandler
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from ml_project.errors import FraudError
from serving.app import create_app
from serving.exits import DONE, END_SECONDS, FAILED, GRACE_SECONDS, INTERRUPTED
from serving.preflight import prepared_store
from serving.settings import GatewaySettings
from serving.shared_metrics import SharedMetrics

Wiring = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes what makes this process look at the registry, gives what makes all of them."""


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
    try:
        store = prepared_store(settings)
        listener = listening()
    except FraudError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    app = create_app(settings, store=store, shared=shared)
    app.state.gateway.look_now = wire(app.state.gateway.look_now)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        _Server(config, started).run(sockets=[listener])
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        # SIGTERM's, see `serving.exits`; or uvicorn's, which has logged why it could not start.
        return DONE if ended.code == DONE else FAILED
    return DONE


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # A thread below Python: it works whatever this process hangs in, and shows on standard error where that is.
            faulthandler.dump_traceback_later(END_SECONDS, exit=True)
        super().handle_exit(sig, frame)
