"""One serving process, from its settings to its exit code: the only one, or one of several workers."""

import faulthandler
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from ml_project.errors import FraudError
from serving.app import Wiring, create_app
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
        app = create_app(settings, shared=shared, wire=wire)
        listener = listening()
    except FraudError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
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
    except SystemExit as ended:
        # A signal's, see `serving.process`; or uvicorn's, which has logged why it could not start.
        return INTERRUPTED if ended.code == INTERRUPTED else DONE if ended.code == DONE else FAILED
    finally:
        # MLflow's download threads would be waited for
        abandon_answers()
    return DONE


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # A thread below Python: it works whatever this process hangs in, and shows on standard error where that is.
            faulthandler.dump_traceback_later(END_SECONDS, exit=True)
        super().handle_exit(sig, frame)
