"""Metrics for CloudWatch inside the log: the embedded metric format, which needs neither an agent nor a permission.

One line holds up to 100 requests, because a metric of one line takes that many values: percentiles stay exact, and the
log, which is paid by its size, does not double. A line waits for its 100 requests no longer than a few seconds.
The format is `stores.emf`'s.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from ml_project.policies import DECISIONS
from stores.emf import MOST_VALUES, emf_content

PRESENT_SECONDS: Final = 60.0
"""How often the present is written: alarms look at minutes."""

_PRESENT_UNITS: Final = {"ModelLoaded": "Count", "StoreWaiting": "Count", "SpoolBytes": "Bytes"}
_UNITS: Final = {
    "Latency": "Milliseconds",
    "Requests": "Count",
    "Errors": "Count",
    **{decision.capitalize(): "Count" for decision in DECISIONS},
}

_log = logging.getLogger(__name__)


class EmfLines:
    """Gathers prediction requests and writes them as lines; used on the event loop alone.

    Parameters
    ----------
    namespace : str
        CloudWatch namespace.
    model_name : str
        Value of the only dimension, ``Model``.
    """

    def __init__(self, namespace: str, model_name: str) -> None:
        self._namespace = namespace
        self._model_name = model_name
        self._latencies: list[float] = []
        self._errors = 0
        self._decisions = [0, 0, 0]
        # FRAUD_LOG_LEVEL chooses among messages; these lines are not messages and go out whatever it says.
        _log.setLevel(logging.INFO)

    def add(self, latency_ms: float, failed: bool, decisions: list[int]) -> None:
        """Take in a request that has ended.

        Parameters
        ----------
        latency_ms : float
            Time until its end, in milliseconds.
        failed : bool
            Whether it was answered by a status from 500.
        decisions : list of int
            Rows answered, by place in ``serving.predictions.DECISIONS``.
        """
        self._latencies.append(round(latency_ms, 3))
        self._errors += failed
        self._decisions = [before + more for before, more in zip(self._decisions, decisions, strict=True)]
        if len(self._latencies) == MOST_VALUES:
            self.flush()

    def flush(self) -> None:
        """Write what has been gathered; nothing where there was no request."""
        if not self._latencies:
            return
        decided = {decision.capitalize(): rows for decision, rows in zip(DECISIONS, self._decisions, strict=True)}
        counts = {"Requests": len(self._latencies), "Errors": self._errors, **decided}
        self._write(_UNITS, {"Latency": self._latencies, **counts})
        self._latencies, self._errors, self._decisions = [], 0, [0, 0, 0]

    def write_present(self, present: Mapping[str, float]) -> None:
        """Write a line about the present: ModelLoaded (0 or 1), StoreWaiting (predictions), SpoolBytes."""
        self._write(_PRESENT_UNITS, dict(present))

    @asynccontextmanager
    async def written(self, seconds: float, present: Callable[[], Mapping[str, float]]) -> AsyncIterator[None]:
        """Flush every so many seconds and at the end, and write the present every minute from now on."""
        tasks = [asyncio.create_task(_every(seconds, self.flush))]
        self.write_present(present())
        tasks.append(asyncio.create_task(_every(PRESENT_SECONDS, lambda: self.write_present(present()))))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.flush()

    def _write(self, units: Mapping[str, str], values: Mapping[str, Any]) -> None:
        content = emf_content(self._namespace, {"Model": self._model_name}, values, units)
        _log.info("Metrics", extra={"fields": content})


async def _every(seconds: float, what: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        what()
