"""Metrics for CloudWatch inside the log: the embedded metric format, which needs neither an agent nor a permission.

One line holds up to 100 requests, because a metric of one line takes that many values: percentiles stay exact, and the
log, which is paid by its size, does not double. A line waits for its 100 requests no longer than a few seconds.

Specification: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from serving.predictions import DECISIONS

MOST_VALUES: Final = 100
"""The specification's limit for one metric of one line."""

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
        # FRAUD_LOG_LEVEL chooses among messages; these lines are no message and go out whatever it says.
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
        _log.info("Metrics", extra={"fields": self._line()})
        self._latencies, self._errors, self._decisions = [], 0, [0, 0, 0]

    @asynccontextmanager
    async def flushed_every(self, seconds: float) -> AsyncIterator[None]:
        """Flush every so many seconds, and a last time at the end."""
        flushing = asyncio.create_task(self._flush_for_ever(seconds))
        try:
            yield
        finally:
            flushing.cancel()
            with suppress(asyncio.CancelledError):
                await flushing
            self.flush()

    async def _flush_for_ever(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self.flush()

    def _line(self) -> dict[str, Any]:
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [["Model"]],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in _UNITS.items()],
        }
        decided = {decision.capitalize(): rows for decision, rows in zip(DECISIONS, self._decisions, strict=True)}
        return {
            "_aws": {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]},
            "Model": self._model_name,
            "Latency": self._latencies,
            "Requests": len(self._latencies),
            "Errors": self._errors,
            **decided,
        }
