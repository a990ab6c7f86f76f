"""How the gateway's processes end: exit codes and signals."""

import signal
import sys
from types import FrameType
from typing import Final

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

GRACE_SECONDS: Final = 15
"""Requests in progress get this long after SIGTERM; then what was decided is flushed."""

END_SECONDS: Final = 24.0
"""Whatever hangs then is cut off."""


def stop_on_signals() -> None:
    """Let SIGTERM and Ctrl-C end the process, at whatever point of its start it is.

    While uvicorn serves it handles both, finishes its requests and raises the signal again, for these handlers.
    """
    signal.signal(signal.SIGTERM, _exit_cleanly)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_cleanly(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(DONE)
