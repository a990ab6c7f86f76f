"""The gate: whether a candidate may take the champion's place, and a report that a person can stand up for."""

from pipelines.gate.judge import judge
from pipelines.gate.limits import GateLimits
from pipelines.gate.report import Check, GateReport

__all__ = ["Check", "GateLimits", "GateReport", "judge"]
