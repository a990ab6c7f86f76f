"""Logs as JSON lines on standard output, one object per event, in the shape that saved searches expect."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """``timestamp level message`` first, then what the event adds through ``extra={"fields": {...}}``.

    Parameters
    ----------
    worker : int, optional
        Which of several workers writes.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
            "logger": record.name,
            **self._worker,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, worker: int | None = None) -> None:
    """Send everything, warnings of libraries included, through one handler."""
    # What no line shows need not be found out for each (the switches of Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(worker))
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # lists its own parts at every start
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
